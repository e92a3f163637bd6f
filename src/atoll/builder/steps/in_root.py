"""Change a root with the root's own programs, so that no symbolic link in it can lead outside."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import ProgramFailed, RecipeError
from atoll.debian.install import package_sandbox
from atoll.host.fs import temporary_directory
from atoll.host.sandbox import Bind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_STAGED = "/run/atoll/files"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileToWrite:
    """A file to write into a root: its content, or a local file that has the content."""

    path: str
    content: bytes | Path
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkToWrite:
    """A symbolic link to create in a root."""

    path: str
    target: str


def run_inside(
    root: Path, argv: Sequence[str], *, what: str, key: str, stdin: bytes | None = None
) -> bytes:
    """Run a program of ``root`` in the sandbox; its stdout. On failure raises RecipeError for the
    key ``key``: ``what`` failed, and the last line of the program's stderr."""
    try:
        return package_sandbox(root).run(argv, stdin=stdin)
    except ProgramFailed as error:
        raise RecipeError(f"{what}: {last_line(error)}", key=key) from error


def last_line(error: ProgramFailed) -> str:
    """The last line of stderr, or the exit status."""
    lines = error.stderr_tail.strip().splitlines()
    return lines[-1] if lines else f"it ended with status {error.status}"


def write_files(
    root: Path, files: Iterable[FileToWrite | LinkToWrite], *, workspace: Path, key: str
) -> None:
    """Write files and links in this order; existing files at these paths are replaced.

    Raises RecipeError for the key ``key``, for example when an owner does not exist.
    """
    with temporary_directory(workspace, prefix="files-") as staged:
        lines = ["set -eu"]
        binds = [Bind(source=staged, target=_STAGED)]
        for number, file in enumerate(files):
            if isinstance(file, LinkToWrite):
                lines += _link_lines(file)
                continue
            source = f"{_STAGED}/{number}"
            if isinstance(file.content, bytes):
                staged.joinpath(str(number)).write_bytes(file.content)
            else:
                source = f"/run/atoll/content/{number}"
                binds.append(Bind(source=file.content.resolve(), target=source))
            lines.append(_install_line(source, file))
        staged.joinpath("put").write_text("\n".join(lines) + "\n")
        try:
            package_sandbox(root, *binds).run(["sh", f"{_STAGED}/put"])
        except ProgramFailed as error:
            raise RecipeError(f"a file cannot be written: {last_line(error)}", key=key) from error


def _install_line(source: str, file: FileToWrite) -> str:
    words = [
        "install",
        "-D",
        "-m",
        f"{file.mode:04o}",
        "-o",
        file.owner,
        "-g",
        file.group,
        "--no-target-directory",
        "--",
        source,
        file.path,
    ]
    return shlex.join(words)


def _link_lines(link: LinkToWrite) -> list[str]:
    parent = link.path.rpartition("/")[0] or "/"
    return [
        shlex.join(["mkdir", "-p", "--", parent]),
        shlex.join(["ln", "-sfT", "--", link.target, link.path]),
    ]
