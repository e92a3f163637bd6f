"""Programs inside another root directory: own mounts, processes, IPC and host name; the network is
shared, or there is none.

::

    setpriv (ends with Atoll)
      unshare (new namespaces)
        sh: the watcher; on a signal it kills the room and waits until it is gone
          sh: process 1 of the room; mounts what the room needs, ends with it
            chroot ROOT program …

The room has /proc, /sys to read, a small /dev, an empty /run and /tmp, and the binds it was given.
Killing process 1 makes the kernel kill every process in the room and drop its mounts, so nothing a
package starts outlives the call, and no mount does.
"""

from __future__ import annotations

import os
import shlex
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from atoll.host.run import need_program, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_WATCHER = """
script=$1; shift
exec 3<&0
trap 'kill -KILL $inner 2>/dev/null; wait $inner; exit 130' TERM INT HUP
setpriv --pdeathsig KILL --clear-groups sh -euc "$script" room "$@" <&3 &
inner=$!
wait $inner
"""

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
"""The machine's own, bound: a user namespace may make none."""
_LINKS = (
    ("/proc/self/fd", "fd"), ("/proc/self/fd/0", "stdin"), ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"), ("pts/ptmx", "ptmx"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """``source`` of the machine seen at ``target`` (absolute, as the room names it)."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """A room over ``root``. ``environment`` is all that programs in it get to see."""

    root: Path
    binds: tuple[Bind, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    network: bool = True
    """Without it the room has no network at all, not even a loopback interface."""

    def run(
        self, argv: Sequence[str], *, stdin: bytes | None = None, log: IO[bytes] | None = None
    ) -> bytes:
        """Run a program in the room to its end; stdout, log and errors are as ``run``'s."""
        need_program("unshare", package="util-linux")
        clock = _moved_clock.get()
        binds = (*self.binds, *clock.binds()) if clock else self.binds
        inner = [*clock.words(), *argv] if clock else argv
        more = () if self.network else ("--net",)
        words = ["setpriv", "--pdeathsig", "TERM", "unshare", "--mount", "--pid", "--ipc", "--uts",
                 *more, "--propagation", "private", "sh", "-c", _WATCHER, "watcher",
                 format_room(self.root, binds), *inner]  # fmt: skip
        return run(words, stdin=stdin, env=_BASE_ENVIRONMENT | dict(self.environment), log=log)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clock:
    """``library`` is libfaketime; times of files stay true, or copies would get false ones."""

    library: Path
    days: int

    def binds(self) -> tuple[Bind, ...]:
        return (Bind(source=self.library, target=_CLOCK_IN_ROOM),)

    def words(self) -> list[str]:
        return ["env", f"LD_PRELOAD={_CLOCK_IN_ROOM}", f"FAKETIME={self.days:+}d",
                "NO_FAKE_STAT=1"]  # fmt: skip


_CLOCK_IN_ROOM = "/run/atoll/clock.so"
_moved_clock: ContextVar[_Clock | None] = ContextVar("moved_clock", default=None)


@contextmanager
def clock_moved(library: Path, *, days: int) -> Iterator[None]:
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


def format_room(root: Path, binds: Sequence[Bind]) -> str:
    """The shell text that sets up the room at ``root`` and runs ``"$@"`` in it."""
    lines = [
        f"cd {shlex.quote(os.fspath(root))}",
        "umask 022",
        "hostname localhost",
        "mount -t proc -o nosuid,nodev,noexec proc proc",
        # Refused in a user namespace without a network of its own; what is bound there instead
        # belongs to the machine's root, so it is as good as read-only.
        "mount -t sysfs -o ro,nosuid,nodev,noexec sys sys 2>/dev/null || mount --rbind /sys sys",
        "mount -t tmpfs -o mode=0755,nosuid dev dev",
        *(f": > dev/{name}; mount --bind /dev/{name} dev/{name}" for name in _DEVICES),
        *(f"ln -s {target} dev/{name}" for target, name in _LINKS),
        "mkdir -m 1777 dev/shm",
        "mkdir dev/pts",
        "mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts",
        "mount -t tmpfs -o mode=0755,nosuid run run",
        "mount -t tmpfs -o mode=1777,nosuid tmp tmp",
        "mkdir -m 1777 run/lock",
    ]
    for bind in binds:
        lines += _bind_lines(bind)
    lines.append('status=0; chroot . "$@" || status=$?; exit $status')
    return "\n".join(lines)


def _bind_lines(bind: Bind) -> list[str]:
    source = shlex.quote(os.fspath(bind.source))
    target = shlex.quote("./" + bind.target.lstrip("/"))
    parent = shlex.quote("./" + bind.target.rpartition("/")[0].lstrip("/"))
    make = f"mkdir -p {target}" if bind.source.is_dir() else f"mkdir -p {parent}; : >> {target}"
    lines = [make, f"mount --bind {source} {target}"]
    if not bind.writable:
        lines.append(f"mount -o remount,bind,ro {target}")
    return lines
