"""The one tree of errors: a class per situation, with its message, its hint and its exit code.

Libraries raise these; only ``atoll.cli.main`` prints them and exits. A message says what is wrong
and where; the hint says what to do next. Exit codes are documented in docs/reference/exit-codes.md
and are never given to another class of errors.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class AtollError(Exception):
    """An error without an exit code of its own, such as a disk that cannot be read."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class NothingToDo(AtollError):
    """There was nothing to do: everything is already as asked."""

    exit_code = 77


class UsageError(AtollError):
    """The command line is wrong: an unknown word, or words that do not go together."""

    exit_code = 2


class RecipeError(AtollError):
    """A recipe is wrong; says file, line and key."""

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
        place = ":".join(
            os.fspath(part) if not isinstance(part, int) else str(part)
            for part in (file, line)
            if part is not None
        )
        where = ": ".join(part for part in (place, key) if part)
        super().__init__(f"{where}: {message}" if where else message, hint=hint)
        self.file = file
        self.line = line
        self.key = key


class MissingPrivilege(AtollError):
    """You may not do this: it needs root, or a login that the registry accepts."""

    exit_code = 3


class MissingProgram(AtollError):
    """A program, a kernel feature or a firmware file is missing; the hint says what to install."""

    exit_code = 4


class NetworkError(AtollError):
    """A mirror or registry cannot be reached, or breaks off.

    Where a server did answer, but not with what was asked for: its ``status`` and ``headers``, and
    the ``url`` that answered, which after redirects may be another server's.
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
    """A file system is too full for what was asked."""

    exit_code = 6


class NotFound(AtollError):
    """A name that was given (file, image, deployment, ref) is not there."""

    exit_code = 7


class Damaged(AtollError):
    """Stored or received bytes are not what their name, digest or format says."""

    exit_code = 8


class Busy(AtollError):
    """Another operation holds what this one needs."""

    exit_code = 9


class PackageError(AtollError):
    """apt or dpkg cannot do what the recipe wants: unknown package, unmet dependency."""

    exit_code = 10


class Refused(AtollError):
    """Atoll does not do this: it would lose something of yours, or the way back.

    Nothing was changed. The message says what stands against it, and the line
    below it what to do.
    """

    exit_code = 11


class ProgramFailed(AtollError):
    """A program ended with an error; shows how to run it again by hand."""

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
    """The machine has too little memory for what was asked."""

    exit_code = 13


class Unhealthy(AtollError):
    """A health check of the running system failed, or a test of an image did."""

    exit_code = 14


class Unrepeatable(AtollError):
    """The same recipe and lock gave another image the second time (atoll build --verify)."""

    exit_code = 15


class Unchecked(AtollError):
    """atoll check found nothing wrong, but could not check everything.

    The lines before say what could not be checked, and why.
    """

    exit_code = 16


class Interrupted(AtollError):
    """The person pressed Ctrl-C or the system asked to stop."""

    exit_code = 130
