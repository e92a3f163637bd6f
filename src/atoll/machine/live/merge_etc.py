"""The ``/etc`` of a live change: that of the target, merged with the running one.

The rules are those of a first boot. A staged deployment has its merged ``/etc`` already, and paths
that changed since are merged again; any other one (the booted deployment, to which an undo returns)
is merged as staging does it. The record of the merge is removed after the exchange: until then a
reboot into the target merges again what changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import Refused
from atoll.host.fs import read_regular
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.etc.conflicts import find_conflicts
from atoll.machine.etc.etc_commands import read_tree_etc
from atoll.machine.etc.etc_operations import RemoveFile, WriteFile
from atoll.machine.etc.first_boot_merge import find_changed
from atoll.machine.etc.merge_base import (
    MERGE_BASE_LIMIT,
    MergeBase,
    format_merge_base,
    parse_merge_base,
)
from atoll.machine.etc.read import read_directory, read_layered
from atoll.machine.etc.stage import (
    MergeInputs,
    etc_paths,
    plan_first_boot,
    plan_stage,
    retry_if_changed,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.etc_tree import Node
    from atoll.machine.etc.stage import EtcPaths
    from atoll.machine.live.record import LiveChange
    from atoll.tree.etc_rules import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedEtc:
    """``live`` is the running ``/etc`` as it was merged, ``result`` what the target's shows."""

    old: Node
    live: Node
    result: Node
    paths: EtcPaths


def merge_etc(
    machine: Sysroot,
    etc: Path,
    change: LiveChange,
    read_rules: Callable[[Node], Rules],
    *,
    undo: bool,
) -> MergedEtc:
    """Write the target's ``/etc``, merged with the running one at ``etc``.

    Raises Busy, Damaged, NoSpace, or Refused where conflicts are open, except for an undo: going
    back must be possible, and the machine's version stays.
    """
    merged = retry_if_changed(lambda: _merge(machine, etc, change, read_rules))
    conflicts, _ = find_conflicts(merged.paths.conflicts)
    if conflicts and not undo:
        raise Refused(
            f"there is a conflict at /etc/{conflicts[0].path}",
            hint=f"resolve it first: {machine.command(f'etc --deployment {change.target}')}",
        )
    return merged


def _merge(
    machine: Sysroot, etc: Path, change: LiveChange, read_rules: Callable[[Node], Rules]
) -> MergedEtc:
    paths = etc_paths(machine, change.target)
    inputs = MergeInputs(
        source=change.source,
        old=read_tree_etc(machine, change.source),
        live=read_directory(etc).root,
        new=read_tree_etc(machine, change.target),
    )
    record = _read_record(paths)
    if record is not None and record.source == change.source:
        apply_operations(_plan_again(record, inputs, paths))
    else:
        earlier, _ = find_conflicts(etc_paths(machine, change.source).conflicts)
        rules = read_rules(inputs.live)
        _, operations = plan_stage(inputs, paths, rules=rules, earlier=earlier)
        apply_operations(operations)
    result = read_layered(inputs.new, paths.upper).root
    return MergedEtc(old=inputs.old, live=inputs.live, result=result, paths=paths)


def _plan_again(record: MergeBase, inputs: MergeInputs, paths: EtcPaths) -> tuple[Operation, ...]:
    """As at the first boot, but the record stays, with the state of now, until the exchange."""
    done = RemoveFile(path=paths.record)
    _, operations = plan_first_boot(record, inputs, paths)
    now = MergeBase(source=inputs.source, live=inputs.live, rules=record.rules)
    return (
        *(each for each in operations if each != done),
        WriteFile(path=paths.record, content=format_merge_base(now)),
    )


def _read_record(paths: EtcPaths) -> MergeBase | None:
    if not paths.record.exists():
        return None
    data = read_regular(paths.record, limit=MERGE_BASE_LIMIT)
    return parse_merge_base(data, where=str(paths.record))


def find_late_changes(machine: Sysroot, merged: MergedEtc, source: int) -> tuple[str, ...]:
    """Paths of the old ``/etc`` that changed while it was exchanged; they are in its upper
    directory."""
    upper = etc_paths(machine, source).upper
    return find_changed(merged.live, read_layered(merged.old, upper).root)
