"""Staging an ``/etc`` as an upgrade does, without the rest of the upgrade."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.machine.deployments.apply import apply_operations
from atoll.machine.etc.stage import plan_stage, retry_if_changed

if TYPE_CHECKING:
    from collections.abc import Callable

    from atoll.machine.etc.merge import Conflict, Merge
    from atoll.machine.etc.stage import EtcPaths, MergeInputs
    from atoll.tree.etc_rules import Rules


def stage_etc(
    read_views: Callable[[], MergeInputs],
    place: EtcPaths,
    *,
    rules: Rules = (),
    earlier: tuple[Conflict, ...] = (),
) -> Merge:
    """Merge and write. A file that changes meanwhile makes it begin again."""

    def stage() -> Merge:
        merge, operations = plan_stage(read_views(), place, rules=rules, earlier=earlier)
        apply_operations(operations)
        return merge

    return retry_if_changed(stage)
