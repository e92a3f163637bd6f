"""The one door to other programs: run one to its end, start one, find one."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Protocol

from atoll.base.errors import MissingProgram, ProgramFailed
from atoll.host.signals import signals_deferred

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

TAIL_LINES = 20
"""How many lines of a failed program's stderr a person is shown."""

PATIENCE = 10.0
"""Seconds that a program gets to end by itself when it is interrupted."""

_BURIAL = 10.0
"""Seconds that what was killed gets to be gone."""

_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


class Process(Protocol):
    """A program that was started."""

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""

    def wait(self) -> int: ...


def find_program(name: str) -> str | None:
    """The path of ``name``, looked for in PATH and in the administrator's directories."""
    return shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":" + _SBIN)


def require_program(name: str, *, package: str) -> str:
    """The path of ``name``; raises MissingProgram naming the Debian ``package`` that has it."""
    path = find_program(name)
    if path is None:
        raise MissingProgram(f"the program {name} is not installed", hint=f"apt install {package}")
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
    is ended with all that it started, and waited for, before the interruption travels on.
    """
    words = [os.fspath(word) for word in argv]
    feed = stdin if isinstance(stdin, bytes) else None
    start = log.tell() if log is not None and log.seekable() else 0
    source = subprocess.PIPE if feed is not None else (stdin or subprocess.DEVNULL)
    process = None
    try:
        with signals_deferred(), _missing_program(words):
            process = subprocess.Popen(
                words,
                stdin=source,  # type: ignore[arg-type]  # bytes are fed through the pipe
                stdout=log or subprocess.PIPE,
                stderr=subprocess.STDOUT if log else subprocess.PIPE,
                env=env,
                cwd=cwd,
                process_group=0,
            )
        out, err = process.communicate(feed)
    except BaseException:
        if process is not None:
            with process:
                _end(process)
        raise
    if process.returncode == 0:
        return out or b""
    if log is not None and log.readable():
        log.seek(start)
        err = log.read()
    raise ProgramFailed(words, process.returncode, tail(err or b""))


def ask(
    argv: Sequence[str | Path], question: bytes, *, seconds: float, limit: int
) -> tuple[int, bytes]:
    """Exit status and stdout of a program that answers on stdout what it reads from stdin.

    What it writes is in no log and no message: it may be a secret. The program is ended after
    ``seconds``, and when it writes more than ``limit`` bytes; then TimeoutError or ValueError.
    Raises MissingProgram.
    """
    words = [os.fspath(word) for word in argv]
    ends = time.monotonic() + seconds
    with signals_deferred(), _missing_program(words):
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
    try:
        with process:
            try:
                return _answer(process, question, ends, limit)
            finally:
                _end(process, patience=min(seconds, PATIENCE))
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{words[0]} did not answer in {seconds:.0f} s") from None


def _answer(
    process: subprocess.Popen[bytes], question: bytes, ends: float, limit: int
) -> tuple[int, bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(question)
    found = b""
    while True:
        ready, _, _ = select.select([process.stdout], [], [], max(ends - time.monotonic(), 0))
        if not ready:
            raise subprocess.TimeoutExpired(process.args, 0)
        piece = os.read(process.stdout.fileno(), limit + 1)
        if not piece:
            return process.wait(max(ends - time.monotonic(), 0.1)), found
        found += piece
        if len(found) > limit:
            raise ValueError(f"its output is larger than {limit} bytes")


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


@contextmanager
def running(argv: Sequence[str | Path], *, log: IO[bytes] | None = None) -> Iterator[Process]:
    """A program that runs beside; when the block ends, so does it, with all that it started.

    Its words go to ``log``. Without one it has the terminal: stdin, stdout and stderr are ours, and
    what is typed goes to it. Raises MissingProgram.
    """
    words = [os.fspath(word) for word in argv]
    process = None
    try:
        with signals_deferred(), _missing_program(words):
            process = subprocess.Popen(
                words,
                stdin=None if log is None else subprocess.DEVNULL,
                stdout=log,
                stderr=None if log is None else subprocess.STDOUT,
                # one that reads the terminal must be in the group that the terminal listens to
                process_group=None if log is None else 0,
            )
        yield process
    finally:
        if process is not None and log is not None:
            _end(process)
        elif process is not None and process.poll() is None:
            process.terminate()
            process.wait()


@contextmanager
def _missing_program(words: Sequence[str]) -> Iterator[None]:
    """For starting a program: that it is not here gets the name of such an error."""
    try:
        yield
    except FileNotFoundError as error:
        raise MissingProgram(f"the program {words[0]} is not installed") from error


def tail(text: bytes) -> str:
    """The last lines of what a program said, readable whatever its bytes."""
    return "\n".join(text.decode(errors="replace").splitlines()[-TAIL_LINES:])


def _end(process: subprocess.Popen[bytes], *, patience: float | None = None) -> None:
    """End the program and all that it started, which may be writing where its caller cleans up.

    It has ``patience`` seconds (else ``PATIENCE``) to end by itself.
    """
    with signals_deferred():
        _signal_group(process, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE if patience is None else patience)
        _signal_group(process, signal.SIGKILL)
        process.wait()
        # Killed at once, but gone only when whoever inherited them has seen it.
        deadline = time.monotonic() + _BURIAL
        while _signal_group(process, 0) and time.monotonic() < deadline:
            time.sleep(0.01)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> bool:
    """Whether there was anybody left in the program's group."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
