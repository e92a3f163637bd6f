"""Room on both partitions: what operations take, and whether it is there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from atoll.base.errors import NoSpace
from atoll.machine.etc.etc_operations import MakeDirectory, MakeWhiteout, WriteFile, WriteLeaf
from atoll.machine.etc.etc_tree import Kind
from atoll.machine.install import BLOCK, Space

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.sysroot import Sysroot

NAME_SIZE = 512
"""Bytes that a name takes in its directory at most, with the blocks that are not full."""
INODES = 64
"""For a deployment's own files, marks, and what is written before it replaces something."""


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


def check_space(title: str, want: Space, sysroot: Sysroot, free: Space, hint: str) -> None:
    """Raises NoSpace that says where, how much, and what could go."""
    state = want.state
    if os.stat(sysroot.root).st_dev == os.stat(sysroot.esp).st_dev:  # noqa: PTH116
        state += want.esp  # a machine in a directory: both have the same room
    for name, wanted, have in (
        (f"the state partition at {sysroot.root}", state, free.state),
        (f"the ESP at {sysroot.esp}", want.esp, free.esp),
    ):
        if wanted > have:
            raise NoSpace(
                f"{title} needs {-(-wanted // 10**6)} MB on {name}, but only"
                f" {have // 10**6} MB are free",
                hint=hint,
            )
    if want.inodes is not None and free.inodes is not None and want.inodes > free.inodes:
        raise NoSpace(
            f"{title} needs {want.inodes} inodes on the state partition at {sysroot.root}, but only"
            f" {free.inodes} are free",
            hint=hint,
        )


def _blocks(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
