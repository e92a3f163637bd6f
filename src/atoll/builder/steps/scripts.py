"""``[[script]]``: a program that changes the root, in the sandbox, with nothing but what it names.

It sees the root, its inputs at /run/atoll/inputs/NAME (read-only, all of them root's, with one time
and plain modes), and a small fixed environment. Without ``network`` it has a loopback interface of
its own and nothing else. It is refused what the recipe says elsewhere: packages and accounts, which
would be none of the lock's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from atoll.base.errors import ProgramFailed, RecipeError
from atoll.builder.steps.local_files import copy_input, digest_named, require_input
from atoll.debian.install import resolver_binds
from atoll.host.fs import temporary_directory
from atoll.host.in_root import in_root
from atoll.host.sandbox import Bind, Sandbox

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.recipe.model import Recipe, Script

INPUTS = "/run/atoll/inputs"
_SCRIPT = "/run/atoll/script"
_SAID = 10
"""How many of a failed script's last lines a person is shown."""

_AT = re.compile(rf"^{_SCRIPT}: (\d+): ", re.MULTILINE)
_TRACED = re.compile(r"^\++ (.+)$", re.MULTILINE)
_ELSEWHERE = {
    "var/lib/dpkg/status": ("installs or removes packages", "say it in [packages]"),
    "etc/passwd": ("makes accounts", "say it with [[user]]"),
    "etc/group": ("makes groups", "say it with [[group]]"),
}
"""Files that no script changes: what it does then, and where the recipe says such things."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunScript:
    """One script. ``logs`` gets all that it says, as ``script-NAME.log``."""

    script: Script
    recipe: Recipe
    epoch: int
    logs: Path

    @property
    def title(self) -> str:
        return f"Running the script {self.script.name}"

    def parts(self) -> tuple[str, ...]:
        script = self.script
        source = ""
        if script.source is not None:
            source = digest_named(self.recipe, script.source, "script.source")
        inputs = [
            (name, digest_named(self.recipe, name, "script.inputs")) for name in script.inputs
        ]
        return (
            "script 1",
            script.name,
            repr(script.text),
            source,
            repr(inputs),
            str(script.network),
            str(self.epoch),
        )

    def execute(self, root: Path, workspace: Path) -> None:
        before = {name: _read(in_root(root, name)) for name in _ELSEWHERE}
        with temporary_directory(workspace, prefix="script-") as staged:
            self._stage(staged)
            binds = (
                Bind(source=staged / "script", target=_SCRIPT),
                Bind(source=staged / "inputs", target=INPUTS),
            )
            self._run(self._room(root, binds))
        for name, (what, hint) in _ELSEWHERE.items():
            if _read(in_root(root, name)) != before[name]:
                raise self._error(f"the script {self.script.name} {what}", hint=hint)

    def _stage(self, staged: Path) -> None:
        """The script, and copies of its inputs."""
        script = self.script
        if script.text is not None:
            staged.joinpath("script").write_text(script.text)
        else:
            copy_input(
                require_input(self.recipe, script.source or "", "script.source"), staged / "script"
            )
            staged.joinpath("script").chmod(0o755)
        (staged / "inputs").mkdir()
        for name in script.inputs:
            target = staged / "inputs" / input_name(name)
            if target.exists():
                raise self._error(
                    f"two inputs have the name {target.name}", hint="rename one of them"
                )
            copy_input(require_input(self.recipe, name, "script.inputs"), target)

    def _room(self, root: Path, binds: tuple[Bind, ...]) -> Sandbox:
        if self.script.network:
            binds = (*resolver_binds(root), *binds)
        environment = {
            "DEBIAN_FRONTEND": "noninteractive",
            "SOURCE_DATE_EPOCH": str(self.epoch),
        }
        return Sandbox(root=root, binds=binds, environment=environment, network=self.script.network)

    def _run(self, sandbox: Sandbox) -> None:
        argv = ["/bin/sh", "-eux", _SCRIPT] if self.script.text is not None else [_SCRIPT]
        self.logs.mkdir(parents=True, exist_ok=True)
        path = self.logs / f"script-{self.script.name}.log"
        with path.open("w+b") as log:
            try:
                sandbox.run(argv, log=log)
            except ProgramFailed as error:
                said = path.read_text(errors="replace")
                what = f"the script {self.script.name} ended with status {error.status}"
                raise self._error(
                    what + explain(self.script.text or "", said),
                    hint=f"its whole output is in {path}",
                ) from error

    def _error(self, message: str, *, hint: str) -> RecipeError:
        return RecipeError(message, file=self.recipe.file, key="script", hint=hint)


def input_name(name: str) -> str:
    """What an input is called below ``INPUTS``."""
    return PurePath(name).name


def explain(text: str, said: str) -> str:
    """In which of its lines a script failed, if that can be told, and its last words."""
    line = find_line(text, said)
    where = f" in its line {line}" if line else ""
    return where + "".join(f"\n    {word}" for word in said.splitlines()[-_SAID:])


def find_line(text: str, said: str) -> int | None:
    """The line that the shell itself names, or the only one that is what it traced last."""
    named = _AT.findall(said)
    if named:
        return int(named[-1])
    traced = _TRACED.findall(said)
    if not traced:
        return None
    lines = [
        number
        for number, line in enumerate(text.splitlines(), 1)
        if line.split() == traced[-1].split()
    ]
    return lines[0] if len(lines) == 1 else None


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""
