"""The error classes: one per situation, each with a message, a hint and an exit code.

Libraries raise these; only ``atoll.cli.main`` prints them and exits. A message says what is wrong
and where; the hint says what to do next. Exit codes are documented in docs/reference/exit-codes.md
and are never reused for another class.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class AtollError(Exception):
    """Any other error, such as a disk that cannot be read."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class NothingToDo(AtollError):
    """Nothing to do: everything is already up to date."""

    exit_code = 77


class UsageError(AtollError):
    """The command line is wrong: an unknown argument, or arguments that exclude each other."""

    exit_code = 2


class RecipeError(AtollError):
    """A recipe is invalid; the message begins with file, line (from 1) and key where known."""

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        file: str | Path | None = None,
        line: int | None = None,
        key: str | None = None,
        hint: str | None = None,
    ) -> None:
        location = ":".join(
            os.fspath(part) if not isinstance(part, int) else str(part)
            for part in (file, line)
            if part is not None
        )
        where = ": ".join(part for part in (location, key) if part)
        super().__init__(f"{where}: {message}" if where else message, hint=hint)
        self.file = file
        self.line = line
        self.key = key


class MissingPrivilege(AtollError):
    """Permission denied: this needs root, or a login that the registry accepts."""

    exit_code = 3


class MissingProgram(AtollError):
    """A program, a kernel feature or a firmware file is missing; the hint says what to install."""

    exit_code = 4


class NetworkError(AtollError):
    """A mirror or registry cannot be reached, or the connection breaks.

    When a server did answer, but with an error: ``status`` and ``headers`` of the response, and the
    ``url`` that sent it, which after redirects may be on another server.
    """

    exit_code = 5

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        url: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.url = url
        self.headers = headers or {}


class NoSpace(AtollError):
    """A file system has too little free space for this operation."""

    exit_code = 6


class NotFound(AtollError):
    """The requested file, image, deployment or ref does not exist."""

    exit_code = 7


class Damaged(AtollError):
    """Stored or received bytes do not match their name, digest or format."""

    exit_code = 8


class Busy(AtollError):
    """Another operation holds a lock that this one needs."""

    exit_code = 9


class PackageError(AtollError):
    """apt or dpkg cannot satisfy the recipe: unknown package, unmet dependency."""

    exit_code = 10


class ArchiveError(PackageError):
    """A package archive cannot be used: it is expired, not signed by a trusted key, or lacks a
    suite. That says nothing of the packages."""


class Refused(AtollError):
    """Refused: this would lose data, or leave no system to boot or fall back to.

    Nothing was changed. The message gives the reason, and the hint says what to do.
    """

    exit_code = 11


class ProgramFailed(AtollError):
    """A program failed; the message shows its command line and its last output.

    ``status`` is the exit status; a negative value is the number of the signal that killed it.
    """

    exit_code = 12

    def __init__(
        self, argv: Sequence[str], status: int, stderr_tail: str, *, hint: str | None = None
    ) -> None:
        ended = f"signal {-status}" if status < 0 else f"status {status}"
        tail = stderr_tail.strip()
        text = f"{argv[0]} ended with {ended}\n  command: {shlex.join(argv)}"
        if tail:
            text += "\n  last lines of its output:\n" + "\n".join(
                f"    {line}" for line in tail.splitlines()
            )
        super().__init__(text, hint=hint)
        self.argv = tuple(argv)
        self.status = status
        self.stderr_tail = stderr_tail


class NoMemory(AtollError):
    """The machine has too little memory for this operation."""

    exit_code = 13


class Unhealthy(AtollError):
    """A health check of the running system, or a test of an image, failed."""

    exit_code = 14


class Unrepeatable(AtollError):
    """A second build of the same recipe and lock gave a different image (atoll build --verify)."""

    exit_code = 15


class Unchecked(AtollError):
    """Nothing wrong (atoll check) or different (atoll drift) was found, but not all was checked.

    The output above the message lists what could not be checked, and why.
    """

    exit_code = 16


class Interrupted(AtollError):
    """The user pressed Ctrl-C, or the system asked the process to stop."""

    exit_code = 130
