"""Services for which ``/etc`` is read-only (``ProtectSystem=full`` and ``strict``).

Such a service has a mount namespace in which the mount of ``/etc`` is read-only. A live change
propagates to it: it gets the new mount, which is writable. So it is made read-only there, too.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.host.mount_syscalls import MountNamespace, make_read_only, open_namespace
from atoll.machine.boot.mounts import read_mounts, stack_at
from atoll.machine.live.mount_stack import read_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

PROCESSES = Path("/proc")


def find_read_only(etc: Path) -> tuple[int, ...]:
    """The mount namespaces, by inode, in which the uppermost mount at ``etc`` is read-only."""
    found = set()
    for inode, process in _list_namespaces():
        with suppress(OSError):
            stack = stack_at(read_mounts(PROCESSES / process / "mountinfo"), etc)
            if stack and "ro" in stack[0].options:
                found.add(inode)
    return tuple(sorted(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectEtc:
    """Make the mount of ``source`` at ``etc`` read-only in these namespaces, where it is there."""

    namespaces: tuple[int, ...]
    etc: Path
    source: str

    def describe(self) -> str:
        return f"make {self.etc} read-only for services that may not write to it"

    def execute(self) -> None:
        for inode, process in _list_namespaces():
            if inode not in self.namespaces:
                continue
            # A process that has ended meanwhile needs no protection.
            with suppress(FileNotFoundError):
                handle = open_namespace(process)
                try:
                    self._protect(MountNamespace(outer=handle))
                finally:
                    os.close(handle)

    def _protect(self, namespace: MountNamespace) -> None:
        with namespace.entered():
            stack = read_stack(self.etc)
            if stack and stack[0].source == self.source and "ro" not in stack[0].options:
                make_read_only(self.etc)


def _list_namespaces() -> Iterator[tuple[int, str]]:
    """Each mount namespace by its inode, with one of its processes."""
    known = set()
    for process in PROCESSES.iterdir():
        if process.name.isdecimal():
            with suppress(OSError):
                inode = (process / "ns/mnt").stat().st_ino
                if inode not in known:
                    known.add(inode)
                    yield inode, process.name
