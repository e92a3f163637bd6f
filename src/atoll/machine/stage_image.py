"""A tree of the machine's store boots next: staged, committed, old deployments removed."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, NoSpace, NotFound
from atoll.base.report import NullReporter
from atoll.image.bootable import read_bootable
from atoll.machine.cleanup import clean_up, prune
from atoll.machine.deployments.apply import apply_operations, apply_until_failure, format_warning
from atoll.machine.deployments.retention import require_current
from atoll.machine.deployments.state import read_state
from atoll.machine.etc.stage import retry_if_changed
from atoll.machine.staging import StageRequest, plan_staging
from atoll.machine.upgrade_check import check_staging_space
from atoll.store.layout import open_store
from atoll.store.refs import remove_ref

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.base.report import Reporter
    from atoll.image.bootable import BootableImage
    from atoll.machine.cleanup import CleanupResult
    from atoll.machine.deployment import Deployment
    from atoll.machine.deployments.state import MachineState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.merge import Merge
    from atoll.machine.staging import StagingPlan

PENDING = "downloaded"
"""The reference that keeps a downloaded image in the store until a deployment uses it."""
TREE_DAMAGED = "the running tree is damaged, so your settings are carried over as they are"
CONFLICTS_STAY = "open conflicts in /etc stay with the old deployment"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """``warning`` says what could not be removed afterwards."""

    deployment: Deployment
    merge: Merge
    pruned: CleanupResult | None
    warning: str | None


def stage_image(
    machine: Sysroot, state: MachineState, request: StageRequest, reporter: Reporter
) -> StageResult:
    """Stage and commit, on a locked machine. Raises Refused, NoSpace, Damaged, Busy or RecipeError;
    the machine is then as it was."""
    image = read_bootable(open_store(machine.atoll), request.tree)
    with undone_on_error(machine), reporter.step(f"Staging {image.name} {image.version}"):
        staged = retry_if_changed(lambda: _stage(machine, state, image, request))
    if staged.damaged:
        reporter.notice(f"{TREE_DAMAGED}: {staged.damaged}")
    if staged.unread:
        reporter.notice(f"{CONFLICTS_STAY}: {staged.unread}")
    warning = format_warning(apply_until_failure(staged.plan.afterwards))
    pruned, prune_warning = _prune(machine, staged.keep, reporter)
    return StageResult(
        deployment=staged.deployment,
        merge=staged.merge,
        pruned=pruned,
        warning=warning or prune_warning,
    )


def _stage(
    machine: Sysroot, state: MachineState, image: BootableImage, request: StageRequest
) -> StagingPlan:
    current = require_current(state)
    staged = plan_staging(machine, state, current, image, request)
    check_staging_space(staged, machine, state)
    apply_operations(staged.plan.commit)
    return staged


@contextmanager
def undone_on_error(machine: Sysroot) -> Iterator[None]:
    """Remove partial results after an error; when the disk is full, prune too.

    What cannot be removed now is removed by the next operation.
    """
    try:
        yield
    except BaseException as error:
        with suppress(AtollError, OSError):
            if isinstance(error, NoSpace):
                forget_pending(machine)
                prune(machine, len(read_state(machine).deployments), NullReporter())
            clean_up(machine, NullReporter())
        raise


def forget_pending(sysroot: Sysroot) -> bool:
    """No longer keep a downloaded image without a deployment; whether there was one."""
    try:
        remove_ref(open_store(sysroot.atoll), PENDING)
    except NotFound:
        return False
    return True


def _prune(
    machine: Sysroot, keep: int, reporter: Reporter
) -> tuple[CleanupResult | None, str | None]:
    """The new system boots next already, so an error here is only a warning."""
    try:
        forget_pending(machine)
        pruned = prune(machine, keep, reporter)
        return pruned, pruned.warning
    except (AtollError, OSError) as error:
        return None, f"not all old deployments could be removed: {error}"
