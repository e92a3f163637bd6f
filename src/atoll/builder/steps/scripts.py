"""``[[script]]``: a program that changes the root. It runs in the sandbox, and sees nothing from
outside except its declared inputs.

Inputs are at /run/atoll/inputs/NAME: read-only, owned by root, with mode 0755 or 0644 and one
modification time. The environment is small and fixed. Without ``network`` there is only a loopback
interface. A script must not change packages or accounts: they are locked, and have keys of their
own in the recipe.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from atoll.base.errors import ProgramFailed, RecipeError
from atoll.builder.steps.bounded_log import bounded_log
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
_LAST_LINES = 10
"""How many of the last lines of a failed script the error shows."""

_SHELL_ERROR = re.compile(rf"^{_SCRIPT}: (\d+): ", re.MULTILINE)
_TRACED = re.compile(r"^\++ (.+)$", re.MULTILINE)
_PROTECTED = {
    "var/lib/dpkg/status": ("installs or removes packages", "say it in [packages]"),
    "etc/passwd": ("makes accounts", "say it with [[user]]"),
    "etc/group": ("makes groups", "say it with [[group]]"),
}
"""Files that a script must not change: what a script that does has done, and what to write in the
recipe instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunScript:
    """One script. Its output goes to ``script-NAME.log`` in ``logs``. ``epoch`` is in seconds."""

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
        before = {name: _read(in_root(root, name)) for name in _PROTECTED}
        with temporary_directory(workspace, prefix="script-") as staged:
            self._stage(staged)
            binds = (
                Bind(source=staged / "script", target=_SCRIPT),
                Bind(source=staged / "inputs", target=INPUTS),
            )
            self._run(self._sandbox(root, binds))
        for name, (what, hint) in _PROTECTED.items():
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

    def _sandbox(self, root: Path, binds: tuple[Bind, ...]) -> Sandbox:
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
        try:
            with bounded_log(path) as log:
                sandbox.run(argv, log=log.output)
        except ProgramFailed as error:
            output = path.read_text(errors="replace")
            message = f"the script {self.script.name} ended with status {error.status}"
            hint = f"its whole output is in {path}"
            if log.cut:
                hint = f"the end of its output is in {path}; the first {log.cut} bytes were dropped"
            raise self._error(
                message + describe_failure(self.script.text or "", output), hint=hint
            ) from error

    def _error(self, message: str, *, hint: str) -> RecipeError:
        return RecipeError(message, file=self.recipe.file, key="script", hint=hint)


def input_name(name: str) -> str:
    """The name of an input below ``INPUTS``."""
    return PurePath(name).name


def describe_failure(text: str, output: str) -> str:
    """The end of an error message: the line in which a script failed, if known, and the last lines
    of its ``output``."""
    line = find_line(text, output)
    where = f" in its line {line}" if line else ""
    return where + "".join(f"\n    {each}" for each in output.splitlines()[-_LAST_LINES:])


def find_line(text: str, output: str) -> int | None:
    """The number of the line of the script ``text`` that failed, as its ``output`` shows it.

    Either the shell names the line in an error message, or exactly one line is the command that
    ``set -x`` traced last. None otherwise.
    """
    named = _SHELL_ERROR.findall(output)
    if named:
        return int(named[-1])
    traced = _TRACED.findall(output)
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
