"""Which operations a verb would execute: ``atoll plan VERB --operations``.

The verbs plan with the same functions, so the list is what they execute, in their order. Where a
verb reads the machine again after some of its operations, the list is planned on a copy of the
state in memory to which these were applied (``plan_check.after``).
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING

from atoll.base.errors import Refused
from atoll.image.bootable import read_bootable
from atoll.machine.candidate import check_new, opened_candidate
from atoll.machine.cleanup import plan_cleanup, plan_prune, plan_removal
from atoll.machine.deployments.boot_check import verifier
from atoll.machine.deployments.operations import RemoveFromEsp
from atoll.machine.deployments.plan_check import after, check_plan
from atoll.machine.deployments.retention import require_current
from atoll.machine.deployments.state import DeploymentState, read_state, refresh_state
from atoll.machine.deployments.way_back import with_way_back
from atoll.machine.etc.stage import retry_if_changed
from atoll.machine.gc import read_keep
from atoll.machine.rollback import plan_rollback, preview_rollback_of
from atoll.machine.staging import StageRequest, plan_staging
from atoll.machine.upgrade_check import check_staging_space, inspect_upgrade
from atoll.store.layout import open_store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.state import MachineState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.deployments.way_back import Verify
    from atoll.machine.upgrade import UpgradeRequest


def list_upgrade_operations(sysroot: Sysroot, request: UpgradeRequest) -> tuple[Operation, ...]:
    """Raises Refused while the image is not here, and what the verb raises."""
    verify = verifier(sysroot)
    state, cleanup = _cleaned_up(sysroot, verify)
    current = require_current(state)
    store = open_store(sysroot.atoll)
    with opened_candidate(sysroot, state, request.image) as candidate:
        check_new(candidate, sysroot, state, even_held=request.even_held)
        preview = inspect_upgrade(candidate, sysroot, state, current, even_held=request.even_held)
    if preview.obstacle is not None:
        raise preview.obstacle
    if not candidate.is_here:
        raise Refused(
            f"{candidate.title} is not downloaded, so its operations are not known yet",
            hint=f"download it first: {sysroot.command(f'{request.words} --download-only')}",
        )
    image = read_bootable(store, candidate.tree)
    stage = StageRequest(
        verb=request.verb,
        tree=candidate.tree,
        origin=candidate.origin,
        confirm=request.confirm,
    )
    staged = retry_if_changed(lambda: plan_staging(sysroot, state, current, image, stage))
    check_staging_space(staged, sysroot, state)
    added = DeploymentState(deployment=staged.deployment)
    state = replace(state, deployments=(added, *state.deployments))
    state = _after_all(state, staged.plan.operations, verify)
    return (*cleanup, *staged.plan.operations, *_plan_prune(sysroot, state, staged.keep, cleanup))


def list_rollback_operations(
    sysroot: Sysroot, which: str | None, *, keep_etc: bool
) -> tuple[Operation, ...]:
    """Raises what the verb raises."""
    verify = verifier(sysroot)
    state, cleanup = _cleaned_up(sysroot, verify)
    found = preview_rollback_of(sysroot, state, which, verify, keep_etc=keep_etc)
    _, plan = retry_if_changed(lambda: plan_rollback(sysroot, state, found, keep_etc=keep_etc))
    check_plan(state, plan.operations, verify)
    return (*cleanup, *plan.operations)


def list_gc_operations(sysroot: Sysroot, keep: int | None) -> tuple[Operation, ...]:
    """Raises what the verb raises."""
    verify = verifier(sysroot)
    state, cleanup = _cleaned_up(sysroot, verify)
    current = require_current(state)
    keep = read_keep(sysroot, current) if keep is None else keep
    return (*cleanup, *_plan_prune(sysroot, state, keep, cleanup))


def _cleaned_up(sysroot: Sysroot, verify: Verify) -> tuple[MachineState, tuple[Operation, ...]]:
    """The machine after the cleanup that each verb begins with, and the operations of that."""
    state = with_way_back(read_state(sysroot), verify)
    operations = plan_cleanup(sysroot, state, verify).operations
    return (_after_all(state, operations, verify) if operations else state), operations


def _after_all(
    state: MachineState, operations: Iterable[Operation], verify: Verify
) -> MachineState:
    return with_way_back(refresh_state(reduce(after, operations, state)), verify)


def _plan_prune(
    sysroot: Sysroot, state: MachineState, keep: int, cleanup: tuple[Operation, ...]
) -> tuple[Operation, ...]:
    removal, _ = plan_prune(sysroot, state, keep)
    # They are still on the ESP, but the cleanup removes them first.
    removed = {each.path.name for each in cleanup if isinstance(each, RemoveFromEsp)}
    pairs = tuple(pair for pair in removal.pairs if pair not in removed)
    plan = plan_removal(sysroot, replace(removal, pairs=pairs))
    check_plan(state, plan, verifier(sysroot))
    return plan
