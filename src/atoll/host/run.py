"""Find, start and run other programs; nothing else in Atoll uses ``subprocess``."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Protocol

from atoll.base.errors import MissingProgram, ProgramFailed
from atoll.host.signals import signals_deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

TAIL_LINES = 20
"""How many lines of a failed program's stderr go into the error message."""

GRACE_SECONDS = 10.0
"""Seconds from SIGTERM to SIGKILL when a program is interrupted."""

_REAP_SECONDS = 10.0
"""Seconds to wait until killed processes have been reaped."""

_WATCH_SECONDS = 0.2

_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


class Process(Protocol):
    """A started program."""

    def poll(self) -> int | None:
        """The exit status; None while it runs."""

    def wait(self) -> int: ...


def find_program(name: str) -> str | None:
    """The path of ``name``, searched in PATH and the sbin directories; None if not found."""
    return shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":" + _SBIN)


def require_program(name: str, *, package: str) -> str:
    """The path of ``name``; raises MissingProgram, whose hint names the Debian ``package``."""
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
    watch: Callable[[], None] | None = None,
) -> bytes:
    """Run a program to its end and return its stdout.

    ``log``, when given, receives stdout and stderr instead, and the result is empty. The program
    has its own process group and does not inherit stdin. ``watch`` is called now and then while it
    runs. Raises ProgramFailed with the last lines of stderr (or of the log), or MissingProgram. If
    this process is interrupted, or ``watch`` raises an exception, the program and its children are
    ended and waited for before the exception propagates.
    """
    arguments = [os.fspath(argument) for argument in argv]
    feed = stdin if isinstance(stdin, bytes) else None
    start = log.tell() if log is not None and log.seekable() else 0
    source = subprocess.PIPE if feed is not None else (stdin or subprocess.DEVNULL)
    process = None
    try:
        with signals_deferred(), _missing_program(arguments):
            process = subprocess.Popen(
                arguments,
                stdin=source,  # type: ignore[arg-type]  # bytes are fed through the pipe
                stdout=log or subprocess.PIPE,
                stderr=subprocess.STDOUT if log else subprocess.PIPE,
                env=env,
                cwd=cwd,
                process_group=0,
            )
        out, err = _communicate(process, feed, watch)
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
    raise ProgramFailed(arguments, process.returncode, tail(err or b""))


def _communicate(
    process: subprocess.Popen[bytes], feed: bytes | None, watch: Callable[[], None] | None
) -> tuple[bytes, bytes]:
    if watch is None:
        return process.communicate(feed)
    ended = threading.Event()
    raised: list[BaseException] = []

    def look() -> None:
        while not ended.wait(_WATCH_SECONDS):
            try:
                watch()
            except BaseException as error:
                raised.append(error)
                _signal_group(process, signal.SIGKILL)
                return

    # Another thread, because a communicate() with a limit of time forgets what it has not written.
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        found = process.communicate(feed)
    finally:
        ended.set()
        thread.join()
    if raised:
        raise raised[0]
    return found


def ask(
    argv: Sequence[str | Path], question: bytes, *, seconds: float, limit: int
) -> tuple[int, bytes]:
    """Send ``question`` to a program's stdin; returns its exit status and its stdout.

    Its output is never logged or shown: it may be a secret. Raises TimeoutError after ``seconds``,
    ValueError when it writes more than ``limit`` bytes (in both cases it is ended), and
    MissingProgram.
    """
    arguments = [os.fspath(argument) for argument in argv]
    ends = time.monotonic() + seconds
    with signals_deferred(), _missing_program(arguments):
        process = subprocess.Popen(
            arguments,
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
                _end(process, grace=min(seconds, GRACE_SECONDS))
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"{arguments[0]} did not answer in {seconds:.0f} s") from None


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
    """Start a program and return at once; the caller must wait for it."""
    return subprocess.Popen(
        [os.fspath(argument) for argument in argv],
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=stdout or subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@contextmanager
def running(argv: Sequence[str | Path], *, log: IO[bytes] | None = None) -> Iterator[Process]:
    """Run a program in the background; it is ended with the block.

    With ``log``, stdout and stderr go there, and the program's children are ended, too. Without, it
    inherits stdin, stdout and stderr, so that the user can interact with it. Raises MissingProgram.
    """
    arguments = [os.fspath(argument) for argument in argv]
    process = None
    try:
        with signals_deferred(), _missing_program(arguments):
            process = subprocess.Popen(
                arguments,
                stdin=None if log is None else subprocess.DEVNULL,
                stdout=log,
                stderr=None if log is None else subprocess.STDOUT,
                # a program that reads the terminal must stay in its foreground process group
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
def _missing_program(arguments: Sequence[str]) -> Iterator[None]:
    """Turn FileNotFoundError from starting a program into MissingProgram."""
    try:
        yield
    except FileNotFoundError as error:
        raise MissingProgram(f"the program {arguments[0]} is not installed") from error


def tail(text: bytes) -> str:
    """The last lines of a program's output; invalid UTF-8 is replaced."""
    return "\n".join(text.decode(errors="replace").splitlines()[-TAIL_LINES:])


def _end(process: subprocess.Popen[bytes], *, grace: float | None = None) -> None:
    """End the program's process group: SIGTERM, then SIGKILL after ``grace`` seconds.

    Returns when its children are gone, too: they could still write where the caller cleans up.
    """
    with signals_deferred():
        _signal_group(process, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS if grace is None else grace)
        _signal_group(process, signal.SIGKILL)
        process.wait()
        # Orphaned children are gone only when init has reaped them.
        deadline = time.monotonic() + _REAP_SECONDS
        while _signal_group(process, 0) and time.monotonic() < deadline:
            time.sleep(0.01)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal to the program's process group; False if the group is empty."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
