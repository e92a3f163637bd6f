"""Vary the build environment, to test that a result does not depend on it (as reprotest does).

The caller learns what could be varied and what could not, so that a weak test is not taken for a
strong one. Everything is restored at the end. The process must have a private mount namespace;
mounts and the host name are changed for it alone.
"""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import ProgramFailed
from atoll.host.fs import umask
from atoll.host.run import run
from atoll.host.sandbox import faketime
from atoll.host.syscalls import unshare_host_name
from atoll.host.userns import is_initial_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENVIRONMENT = {
    "LANG": "tr_TR.UTF-8",
    "LANGUAGE": "tr",
    "LC_ALL": "tr_TR.UTF-8",
    "TZ": "Asia/Kathmandu",
    "PYTHONHASHSEED": "17",
    "USER": "somebody",
}
"""Turkish changes upper and lower case of "i"; Kathmandu is 5:45 hours ahead of UTC."""

_HOST_NAME = "elsewhere.example"
_UMASK = 0o077
_DAYS = 500
_HASH_SEED = "6cf9a5f8-3a34-4a0b-9f6e-0e3f0b5a7c11"
"""ext4 lists a directory in the order of its name hashes, so another seed gives another order."""

_FAKETIME_LIBRARIES = "usr/lib/*/faketime/libfaketime.so.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variations:
    """The variations in effect.

    ``directory`` is where to work. ``changed`` lists what is varied; ``same`` lists what could not
    be, each with the reason.
    """

    directory: Path
    changed: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)


@contextmanager
def variations_applied(parent: Path, *, space: int) -> Iterator[Variations]:
    """Apply all variations inside the block; ``parent`` is an empty directory.

    ``space`` is how many bytes the work may write. They may be taken from memory (tmpfs). Changes
    the environment, umask and CPU affinity of this process.
    """
    now = Variations(directory=parent / "in/a/deeper/place")
    now.directory.mkdir(parents=True)
    now.changed.append("the directory")
    with (
        _file_system(now, parent, space),
        _one_processor(now),
        _environment(now),
        _host_name(now),
        _clock(now),
        umask(_UMASK),
    ):
        now.changed.append(f"umask {_UMASK:03o}")
        yield now


@contextmanager
def _file_system(now: Variations, parent: Path, space: int) -> Iterator[None]:
    """Mount a tmpfs or ext4, which lists directories in another order."""
    target = now.directory
    memory = read_available_memory()
    mounted = ""
    if space <= memory // 2:
        with suppress(ProgramFailed):
            run(
                [
                    "mount",
                    "-t",
                    "tmpfs",
                    "-o",
                    f"mode=0755,size={memory * 3 // 4}",
                    "atoll-verify",
                    target,
                ]
            )
            mounted = "tmpfs"
    if not mounted and is_initial_namespace():
        with suppress(ProgramFailed):
            _mount_ext4(parent / "disk", target)
            mounted = "ext4, with another hash seed"
    if mounted:
        now.changed.append(f"the order of directories ({mounted})")
    else:
        now.same.append(
            f"the order of directories: changing it needs {space * 2 >> 20} MiB of free memory"
        )
    try:
        yield
    finally:
        if mounted:
            run(["umount", "--lazy", target])


def _mount_ext4(disk: Path, target: Path) -> None:
    free = os.statvfs(disk.parent)
    with disk.open("wb") as file:
        file.truncate(free.f_bavail * free.f_frsize)
    run(["mkfs.ext4", "-q", "-F", "-E", f"hash_seed={_HASH_SEED},root_owner=0:0", disk])
    run(["mount", "-o", "loop", disk, target])


@contextmanager
def _one_processor(now: Variations) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    if len(before) == 1:
        now.same.append("the number of processors: there is only one")
    else:
        os.sched_setaffinity(0, {max(before)})
        now.changed.append(f"1 processor instead of {len(before)}")
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _environment(now: Variations) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    now.changed.extend((f"language {_ENVIRONMENT['LANG']}", f"time zone {_ENVIRONMENT['TZ']}"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _host_name(now: Variations) -> Iterator[None]:
    before = socket.gethostname()
    try:
        unshare_host_name()
        socket.sethostname(_HOST_NAME)
    except OSError as error:
        now.same.append(f"the host name: {error.strerror}")
        yield
        return
    now.changed.append(f"host name {_HOST_NAME}")
    try:
        yield
    finally:
        socket.sethostname(before)


@contextmanager
def _clock(now: Variations) -> Iterator[None]:
    library = next(iter(sorted(Path("/").glob(_FAKETIME_LIBRARIES))), None)
    if library is None:
        now.same.append(
            "the clock, except for the time between the two builds: libfaketime is not installed"
        )
        yield
        return
    with faketime(library, days=_DAYS):
        now.changed.append(f"the clock of package scripts, {_DAYS} days ahead")
        yield


def read_available_memory(path: Path = Path("/proc/meminfo")) -> int:
    """The kernel's MemAvailable in bytes; 0 if it does not report it."""
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return 0
