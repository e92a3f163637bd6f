"""The one door to other programs: run one to its end, start one, find one."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import IO, TYPE_CHECKING

from atoll.base.errors import MissingProgram, ProgramFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TAIL_LINES = 20
"""How many lines of a failed program's stderr a person is shown."""

_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def find_program(name: str) -> str | None:
    """The path of ``name``, looked for in PATH and in the administrator's directories."""
    return shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":" + _SBIN)


def need_program(name: str, *, package: str) -> str:
    """The path of ``name``; raises MissingProgram naming the Debian ``package`` that has it."""
    path = find_program(name)
    if path is None:
        raise MissingProgram(f"the program {name} is not here", hint=f"apt install {package}")
    return path


def run(
    argv: Sequence[str | Path],
    *,
    stdin: bytes | IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: IO[bytes] | None = None,
) -> bytes:
    """Run a program to its end and return its stdout.

    ``log``, when given, receives stdout and stderr instead (and the result is empty). The program
    gets no terminal and no inherited stdin. Raises ProgramFailed with the last lines of stderr (or
    of the log), MissingProgram when it is not there. When this process is interrupted, the program
    is ended and waited for before the interruption travels on.
    """
    words = [os.fspath(word) for word in argv]
    feed = stdin if isinstance(stdin, bytes) else None
    start = log.tell() if log is not None and log.seekable() else 0
    source = subprocess.PIPE if feed is not None else (stdin or subprocess.DEVNULL)
    try:
        process = subprocess.Popen(
            words,
            stdin=source,  # type: ignore[arg-type]  # bytes are fed through the pipe
            stdout=log or subprocess.PIPE,
            stderr=subprocess.STDOUT if log else subprocess.PIPE,
            env=env,
            cwd=cwd,
        )
    except FileNotFoundError as error:
        raise MissingProgram(f"the program {words[0]} is not here") from error
    with process:
        try:
            out, err = process.communicate(feed)
        except BaseException:
            _end(process)
            raise
    if process.returncode == 0:
        return out or b""
    if log is not None and log.readable():
        log.seek(start)
        err = log.read()
    raise ProgramFailed(words, process.returncode, tail(err or b""))


def spawn(
    argv: Sequence[str | Path],
    *,
    stdin: IO[bytes] | int | None = None,
    stdout: IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program and return at once; the caller waits for it."""
    return subprocess.Popen(
        [os.fspath(word) for word in argv],
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=stdout or subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def tail(text: bytes) -> str:
    """The last lines of what a program said, readable whatever its bytes."""
    return "\n".join(text.decode(errors="replace").splitlines()[-TAIL_LINES:])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
