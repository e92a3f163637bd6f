"""The ``/etc`` of a new deployment: staged while another one runs, completed at its first boot.

Until the first boot, a record of what was merged is kept beside the upper directory::

    atoll/deployments/<n>/etc/upper           what differs from the tree
    atoll/deployments/<n>/etc/merged-from     the record (``merge_base``)
    atoll/state/conflicts/<n>/                open conflicts (``conflicts``)

Staging writes the record, the conflicts, and last the upper directory. The first boot reads the
record, merges what changed since staging, and removes the record. From then on the deployment has
an ``/etc`` of its own, so the record must never be merged into it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from atoll.base.errors import Busy
from atoll.host.fs import read_regular
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.etc.conflicts import (
    SetAsideDamaged,
    find_conflicts,
    keep_open_conflicts,
    plan_conflicts,
)
from atoll.machine.etc.etc_operations import RemoveFile, WriteFile
from atoll.machine.etc.first_boot_merge import find_changed, merge_changed
from atoll.machine.etc.merge import Conflict, Merge, plan_merge
from atoll.machine.etc.merge_base import (
    MERGE_BASE_LIMIT,
    MergeBase,
    format_merge_base,
    parse_merge_base,
)
from atoll.machine.etc.overlay_upper import plan_upper
from atoll.machine.etc.read import read_layered

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.etc_tree import Node
    from atoll.tree.etc_rules import Rules

Result = TypeVar("Result")
TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcPaths:
    """Where the ``/etc`` of one deployment is kept."""

    upper: Path
    record: Path
    conflicts: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeInputs:
    """``old`` is the ``/etc`` of the booted tree, ``new`` that of the tree to come.

    ``source`` is the deployment that ``old`` and ``live`` are of.
    """

    source: int
    old: Node
    live: Node
    new: Node


def etc_paths(sysroot: Sysroot, deployment: int) -> EtcPaths:
    etc = sysroot.deployments / str(deployment) / "etc"
    return EtcPaths(
        upper=etc / "upper",
        record=etc / "merged-from",
        conflicts=sysroot.state / "conflicts" / str(deployment),
    )


def plan_stage(
    inputs: MergeInputs,
    paths: EtcPaths,
    *,
    rules: Rules = (),
    earlier: tuple[Conflict, ...] = (),
    seen: Node | None = None,
) -> tuple[Merge, tuple[Operation, ...]]:
    """The merge, and what stages it; ``earlier`` are the booted deployment's open conflicts.

    ``seen`` is what the live ``/etc`` is now, where ``inputs.live`` is what it will be once the
    operation is complete.
    """
    merge = plan_merge(inputs.old, inputs.live, inputs.new, rules)
    conflicts = keep_open_conflicts(earlier, merge, inputs.new)
    record = MergeBase(source=inputs.source, live=seen or inputs.live, rules=rules)
    return merge, (
        WriteFile(path=paths.record, content=format_merge_base(record)),
        *plan_conflicts(conflicts, paths.conflicts),
        *plan_upper(merge.result, inputs.new, paths.upper),
    )


def merge_at_first_boot(
    read_inputs: Callable[[int], MergeInputs], paths: EtcPaths
) -> tuple[str, ...]:
    """Merge what changed since staging; the paths that did.

    ``read_inputs`` is called with the number of the deployment that was merged from. Without a
    record there is nothing to do. After an error the record is removed as well, for this merge may
    run only before ``/etc`` is used; what was staged stays.
    """
    if not paths.record.exists():
        return ()
    try:
        record = parse_merge_base(
            read_regular(paths.record, limit=MERGE_BASE_LIMIT), where=str(paths.record)
        )
        changed, operations = plan_first_boot(record, read_inputs(record.source), paths)
        apply_operations(operations)
    except BaseException:
        apply_operations([RemoveFile(path=paths.record)])
        raise
    return changed


def plan_first_boot(
    record: MergeBase, inputs: MergeInputs, paths: EtcPaths
) -> tuple[tuple[str, ...], tuple[Operation, ...]]:
    """The paths that changed since staging, and the operations that merge them."""
    done = RemoveFile(path=paths.record)
    changed = find_changed(record.live, inputs.live)
    if not changed:
        return (), (done,)
    staged = read_layered(inputs.new, paths.upper).root
    fresh = plan_merge(inputs.old, inputs.live, inputs.new, record.rules)
    conflicts, unread = find_conflicts(paths.conflicts)
    merge = merge_changed(staged, conflicts, fresh, changed)
    return changed, (
        *((SetAsideDamaged(path=paths.conflicts),) if unread else ()),
        *plan_conflicts(merge.conflicts, paths.conflicts),
        *plan_upper(merge.result, inputs.new, paths.upper),
        done,
    )


def retry_if_changed(work: Callable[[], Result]) -> Result:
    """Call ``work`` again while it raises Busy because a file changed, at most ``TRIES`` times."""
    for _ in range(TRIES - 1):
        try:
            return work()
        except Busy:
            continue
    return work()
