"""How a failed command ends: the message on stderr, and the exit code."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from atoll.base.errors import (
    AtollError,
    Interrupted,
    MissingPrivilege,
    MissingProgram,
    NoMemory,
    NoSpace,
)
from atoll.base.text import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

UNEXPECTED = 70
"""Exit code of a bug in Atoll (EX_SOFTWARE)."""
BROKEN_PIPE = 141
"""Exit code for a closed stdout: 128 + SIGPIPE, as shells report it."""


def print_failure(error: BaseException, words: Sequence[str]) -> int:
    """Print to stderr why the command line ``words`` failed, and return the exit code."""
    known = _as_atoll_error(error)
    if isinstance(error, OSError):
        _drop_stdout()
    # stderr may be closed too (a closed terminal); the exit code still tells what happened.
    with suppress(OSError):
        if os.environ.get("ATOLL_DEBUG") == "1":
            _print_traceback(error)
        if known is not None:
            print_error(known)
        elif not isinstance(error, BrokenPipeError):
            _print_bug(error, words)
        sys.stderr.flush()
    if known is not None:
        return known.exit_code
    return BROKEN_PIPE if isinstance(error, BrokenPipeError) else UNEXPECTED


def print_error(error: AtollError) -> None:
    """Print one error and its hint."""
    print(f"atoll: {_indented(error.message, '    ')}", file=sys.stderr)
    if error.hint:
        print(f"  {_indented(error.hint, '  ')}", file=sys.stderr)


def _indented(text: str, by: str) -> str:
    """Indent all lines but the first, so that line breaks in a file name cannot forge a message."""
    first, *rest = escape(text).split("\n")
    return "\n".join([first, *(line if line.startswith(" ") else f"{by}{line}" for line in rest)])


def _print_bug(error: BaseException, words: Sequence[str]) -> None:
    again = shlex.join(["atoll", *words])
    kind = type(error).__name__
    print(f"atoll: a bug in Atoll: {kind}: {escape(str(error))}", file=sys.stderr)
    print(f"  please report it with the output of: ATOLL_DEBUG=1 {again}", file=sys.stderr)


def _missing_module(name: str) -> MissingProgram:
    """A library that Atoll needs is not installed for this Python."""
    debian_python = "/usr/bin/python3"
    hint = f"install it: apt install python3-{name}"
    if os.path.realpath(sys.executable) != os.path.realpath(debian_python):
        hint += f"; and run Atoll with Debian's Python, {debian_python}, as `atoll` in its checkout"
        hint += " does"
    return MissingProgram(f"the Python module {name} is not there for {sys.executable}", hint=hint)


def _as_atoll_error(error: BaseException) -> AtollError | None:
    """The error to show; None for a bug in Atoll, and for a broken pipe, which is not shown."""
    match error:
        case AtollError():
            return error
        case ModuleNotFoundError(name=str(name)) if name.partition(".")[0] != "atoll":
            return _missing_module(name.partition(".")[0])
        case BrokenPipeError():
            return None
        case KeyboardInterrupt():
            return Interrupted("interrupted")
        case MemoryError():
            return NoMemory("not enough memory", hint="see: free -h")
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return NoSpace(_words_of(error), hint="see: df -h")
        case PermissionError() if os.geteuid() != 0:
            return MissingPrivilege(_words_of(error), hint="try again with sudo")
        case OSError(errno=errno.ENOTDIR | errno.EISDIR | errno.ELOOP):
            return AtollError(_words_of(error), hint="look at what is there; move it elsewhere")
        case OSError(errno=errno.EIO):
            return AtollError(_words_of(error), hint="the disk or stick is failing: see dmesg")
        case OSError():
            return AtollError(_words_of(error), hint="ATOLL_DEBUG=1 shows where it happened")
    return None


def _words_of(error: OSError) -> str:
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if name is not None]
    text = error.strerror or str(error) or type(error).__name__
    return f"{' -> '.join(names)}: {text}" if names else text


def _print_traceback(error: BaseException) -> None:
    import traceback

    traceback.print_exception(error)


def _drop_stdout() -> None:
    """Redirect stdout to /dev/null: otherwise Python reports at exit that it cannot be flushed."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
