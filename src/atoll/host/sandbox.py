"""Run programs in a sandbox whose root is another directory.

The programs have their own namespaces for mounts, processes, IPC, host name and control groups, few
capabilities, which they cannot extend, and no network unless requested. ``host/sandbox_init.py``
sets this up and starts them; docs/decisions/0012-sandbox.md gives the reasons.

The sandbox has /proc, an empty /sys, a minimal /dev, an empty /run and /tmp, and the given bind
mounts. When the program or its parent ends, the kernel kills every process in the sandbox and
removes its mounts, so neither outlives the call.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from atoll.base.errors import NoSpace, ProgramFailed
from atoll.host.run import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_START = "import sys; sys.path.insert(0, {!r}); from atoll.host.sandbox_init import main; main()"
_SOURCE = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """A bind mount: ``source`` on the host appears at ``target``, an absolute path inside."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A sandbox with the root directory ``root``.

    Its programs get the variables of ``environment`` and a basic PATH, HOME, LC_ALL and TZ, nothing
    else.
    """

    root: Path
    binds: tuple[Bind, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    network: bool = False
    """Share the host's network, with everything that listens there. Otherwise the sandbox has only
    a loopback interface of its own."""

    def run(
        self, argv: Sequence[str], *, stdin: bytes | None = None, log: IO[bytes] | None = None
    ) -> bytes:
        """Run a program in the sandbox to its end; stdout, log and errors as in ``host.run.run``.

        As in a shell, the status is 127 if the program does not exist, 126 if it cannot be
        executed; it is 125 if the sandbox cannot be created. Raises NoSpace in ``keeping_free``.
        """
        clock = _moved_clock.get()
        sandbox = replace(self, binds=(*self.binds, *clock.binds())) if clock else self
        inner = [*clock.command(), *argv] if clock else argv
        python = [sys.executable, "-I", "-S", "-c", _START.format(os.fspath(_SOURCE))]
        try:
            return run(
                [*python, *format_arguments(sandbox, inner)],
                stdin=stdin,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                log=log,
                watch=_watch.get(),
            )
        except ProgramFailed as error:
            raise ProgramFailed(argv, error.status, error.stderr_tail) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clock:
    """A clock that is ``days`` ahead, by the libfaketime at ``library``.

    Timestamps of files are not changed (NO_FAKE_STAT): ``cp -a`` would write the wrong ones.
    """

    library: Path
    days: int

    def binds(self) -> tuple[Bind, ...]:
        return (Bind(source=self.library, target=_CLOCK_LIBRARY),)

    def command(self) -> list[str]:
        return ["env", f"LD_PRELOAD={_CLOCK_LIBRARY}", f"FAKETIME={self.days:+}d", "NO_FAKE_STAT=1"]


_CLOCK_LIBRARY = "/run/atoll/clock.so"
_moved_clock: ContextVar[_Clock | None] = ContextVar("moved_clock", default=None)


@contextmanager
def faketime(library: Path, *, days: int) -> Iterator[None]:
    """Set the clock ``days`` ahead in all sandboxes that start inside the block."""
    before = _moved_clock.set(_Clock(library=library, days=days))
    try:
        yield
    finally:
        _moved_clock.reset(before)


FREE_BYTES = 64 << 20
_watch: ContextVar[Callable[[], None] | None] = ContextVar("watch", default=None)


@contextmanager
def keeping_free(directory: Path) -> Iterator[None]:
    """End programs in sandboxes, which raises NoSpace, before they fill the file system that has
    ``directory``: on a machine all services write there, too."""

    def check() -> None:
        found = os.statvfs(directory)
        if found.f_bavail * found.f_frsize < FREE_BYTES:
            raise NoSpace(
                f"the file system of {directory} is nearly full, so the program in the sandbox was"
                " stopped",
                hint="what it wrote is removed; see what else takes space: df -h, du",
            )

    before = _watch.set(check)
    try:
        yield
    finally:
        _watch.reset(before)


_BASE_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
}


def format_arguments(sandbox: Sandbox, argv: Sequence[str]) -> list[str]:
    """The command line of ``sandbox_init``, for its ``parse_arguments``. Paths are absolute."""
    arguments = ["root", os.path.abspath(sandbox.root)]  # noqa: PTH100 - links stay
    arguments += ["network"] if sandbox.network else []
    for bind in sandbox.binds:
        source = os.path.abspath(bind.source)  # noqa: PTH100
        arguments += ["bind-writable" if bind.writable else "bind", source, bind.target]
    environment = _BASE_ENVIRONMENT | dict(sandbox.environment)
    for name, value in environment.items():
        arguments += ["set", f"{name}={value}"]
    return [*arguments, "run", *argv]
