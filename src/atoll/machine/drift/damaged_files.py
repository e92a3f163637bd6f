"""Files of a deployment's tree that fail verification."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from atoll.machine.deployments.state import read_deployment
from atoll.machine.drift.model import DamagedFile
from atoll.store.check import FindingKind, check_store
from atoll.store.layout import open_store
from atoll.store.tree_images import read_image
from atoll.tree.model import Regular, walk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atoll.base.report import Reporter
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.store.check import StoreFinding
    from atoll.tree.model import Directory

_OBJECTS = (FindingKind.DAMAGED_OBJECT, FindingKind.MISSING_OBJECT)


def find_damaged(sysroot: Sysroot, number: int, reporter: Reporter) -> tuple[DamagedFile, ...]:
    """Read and verify everything in the machine's store; the findings that concern deployment
    ``number``. Raises Busy, NotFound, or Damaged if the tree's own image is damaged."""
    store = open_store(sysroot.atoll)
    findings = check_store(store, reporter)
    root = read_image(store, read_deployment(sysroot, number).tree)
    return name_damaged(root, findings)


def name_damaged(root: Directory, findings: Iterable[StoreFinding]) -> tuple[DamagedFile, ...]:
    """The files of the tree ``root`` whose contents are damaged or missing."""
    damaged = {each.subject: each.kind.value for each in findings if each.kind in _OBJECTS}
    return tuple(
        DamagedFile(path=os.fsdecode(path), why=damaged[node.object])
        for path, node in walk(root)
        if isinstance(node, Regular) and node.object in damaged
    )
