"""Space on both partitions: what is free, what operations need, and whether it is enough."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import NoSpace
from atoll.machine.etc.etc_operations import MakeDirectory, MakeWhiteout, WriteFile, WriteLeaf
from atoll.machine.etc.etc_tree import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.sysroot import Sysroot

BLOCK = 4096
NAME_SIZE = 512
"""The most bytes that a name takes in its directory, partly filled blocks included."""
INODES = 64
"""For a deployment's own files, flags, and drafts of files that are replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Bytes that are free or needed on the state partition and on the ESP, and inodes on the state
    partition; None where a file system has no fixed number of inodes."""

    state: int
    esp: int
    inodes: int | None = None


def measure_free(sysroot: Sysroot) -> Space:
    state, esp = os.statvfs(sysroot.root), os.statvfs(sysroot.esp)
    return Space(
        state=state.f_bavail * state.f_frsize,
        esp=esp.f_bavail * esp.f_frsize,
        inodes=state.f_favail if state.f_files else None,
    )


def cost_of(operations: Iterable[Operation]) -> Space:
    """What writing ``/etc`` takes, in whole blocks; other operations are not counted."""
    size, inodes = 0, 0
    for operation in operations:
        match operation:
            case MakeDirectory():
                size += 2 * BLOCK
            case WriteLeaf(entry=entry):
                size += _blocks(len(entry.read())) if entry.kind is Kind.FILE else BLOCK
                size += BLOCK if entry.xattrs else 0
            case WriteFile(content=content):
                size += _blocks(len(content))
            case MakeWhiteout():
                pass
            case _:
                continue
        size += NAME_SIZE
        inodes += 1
    return Space(state=size, esp=0, inodes=inodes)


def check_space(title: str, needed: Space, sysroot: Sysroot, free: Space, hint: str) -> None:
    """Raises NoSpace that says where space is missing, how much, and what could be removed."""
    state = needed.state
    if os.stat(sysroot.root).st_dev == os.stat(sysroot.esp).st_dev:  # noqa: PTH116
        state += needed.esp  # a machine in a directory: both share one file system
    for name, wanted, available in (
        (f"the state partition at {sysroot.root}", state, free.state),
        (f"the ESP at {sysroot.esp}", needed.esp, free.esp),
    ):
        if wanted > available:
            raise NoSpace(
                f"{title} needs {-(-wanted // 10**6)} MB on {name}, but only"
                f" {available // 10**6} MB are free",
                hint=hint,
            )
    if needed.inodes is not None and free.inodes is not None and needed.inodes > free.inodes:
        raise NoSpace(
            f"{title} needs {needed.inodes} inodes on the state partition at {sysroot.root}, but"
            f" only {free.inodes} are free",
            hint=hint,
        )


def _blocks(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
