"""Run programs in a sandbox whose root is another directory.

The programs have their own namespaces for mounts, processes, IPC, host name and control groups,
few capabilities that they cannot extend, and no network unless it is asked for.
``host/sandbox_init.py`` sets this up and starts them;
docs/decisions/0012-sandbox.md gives the reasons.

The sandbox has /proc, an empty /sys, a small /dev, an empty /run and /tmp, and the given binds.
When the program or its parent ends, the kernel kills every process in the sandbox and drops
its mounts, so neither outlives the call.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from atoll.base.errors import ProgramFailed
from atoll.host.run import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_START = "import sys; sys.path.insert(0, {!r}); from atoll.host.sandbox_init import main; main()"
_SOURCE = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """``source`` of the machine seen at ``target`` (absolute, as the sandbox names it)."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A sandbox over ``root``. ``environment`` is all that programs in it get to see."""

    root: Path
    binds: tuple[Bind, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    network: bool = False
    """The machine's, with all that listens there. Without it there is a loopback interface that
    nobody else is on."""

    def run(
        self, argv: Sequence[str], *, stdin: bytes | None = None, log: IO[bytes] | None = None
    ) -> bytes:
        """Run a program in the sandbox to its end; stdout, log and errors are as ``run``'s.

        A program that is not there ends with 127. The sandbox itself ends with 125 when it cannot
        be made.
        """
        clock = _moved_clock.get()
        sandbox = replace(self, binds=(*self.binds, *clock.binds())) if clock else self
        inner = [*clock.words(), *argv] if clock else argv
        python = [sys.executable, "-I", "-S", "-c", _START.format(os.fspath(_SOURCE))]
        try:
            return run(
                [*python, *format_words(sandbox, inner)],
                stdin=stdin,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                log=log,
            )
        except ProgramFailed as error:
            raise ProgramFailed(argv, error.status, error.stderr_tail) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clock:
    """``library`` is libfaketime; times of files stay true, or copies would get false ones."""

    library: Path
    days: int

    def binds(self) -> tuple[Bind, ...]:
        return (Bind(source=self.library, target=_CLOCK_IN_ROOM),)

    def words(self) -> list[str]:
        return ["env", f"LD_PRELOAD={_CLOCK_IN_ROOM}", f"FAKETIME={self.days:+}d", "NO_FAKE_STAT=1"]


_CLOCK_IN_ROOM = "/run/atoll/clock.so"
_moved_clock: ContextVar[_Clock | None] = ContextVar("moved_clock", default=None)


@contextmanager
def faketime(library: Path, *, days: int) -> Iterator[None]:
    """Let programs in rooms that are made meanwhile believe it is so many days later."""
    before = _moved_clock.set(_Clock(library=library, days=days))
    try:
        yield
    finally:
        _moved_clock.reset(before)


_BASE_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
}


def format_words(sandbox: Sandbox, argv: Sequence[str]) -> list[str]:
    """What ``sandbox_init`` is told, as it parses it. Paths are absolute."""
    words = ["root", os.path.abspath(sandbox.root)]  # noqa: PTH100 - links stay
    words += ["network"] if sandbox.network else []
    for bind in sandbox.binds:
        source = os.path.abspath(bind.source)  # noqa: PTH100
        words += ["bind-writable" if bind.writable else "bind", source, bind.target]
    environment = _BASE_ENVIRONMENT | dict(sandbox.environment)
    for name, value in environment.items():
        words += ["set", f"{name}={value}"]
    return [*words, "run", *argv]
