"""Upgrade and rebase: from an image reference to the deployment that boots next.

``upgrade`` goes through these steps, each in a module of its own::

    1. lock the machine                                         deployments/machine_lock.py
    2. clean up after an interrupted operation                  cleanup.py
    3. find the image: only manifest and config are fetched     candidate.py
    4. check: new, not held, ids, space                         upgrade_check.py
    5. download what is missing, keep it by a reference         candidate.py, oci/pull.py
    6. plan the deployment, its /etc merged                     staging.py, etc/stage.py
    7. write it; the boot entry's first sector commits          deployments/apply.py, boot/esp.py
    8. remove deployments that policy no longer keeps           cleanup.py

What is handed on: ``UpgradeRequest`` (what a person wants) → ``Candidate`` (the image) →
``UpgradePreview`` (what would happen) → ``StagingPlan`` (the operations) → ``UpgradeResult``.
Whatever goes wrong before the commit leaves the machine as it was.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, NoSpace, NotFound
from atoll.base.report import NullReporter
from atoll.image.bootable import read_bootable
from atoll.machine.candidate import check_new, fetch_candidate, opened_candidate
from atoll.machine.cleanup import clean_up, prune
from atoll.machine.deployments.apply import apply_operations, apply_until_failure, format_warning
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.retention import require_current
from atoll.machine.deployments.state import read_state
from atoll.machine.etc.stage import retry_if_changed
from atoll.machine.staging import plan_staging
from atoll.machine.upgrade_check import check_staging_space, inspect_upgrade
from atoll.store.layout import open_store
from atoll.store.refs import Ref, remove_ref, write_ref

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.base.report import Reporter
    from atoll.image.bootable import BootableImage
    from atoll.machine.candidate import Candidate
    from atoll.machine.cleanup import CleanupResult
    from atoll.machine.deployment import Deployment
    from atoll.machine.deployments.state import MachineState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.merge import Merge
    from atoll.machine.staging import StagingPlan
    from atoll.machine.upgrade_check import UpgradePreview
    from atoll.store.layout import Store

PENDING = "downloaded"
"""The reference that keeps a downloaded image in the store until a deployment uses it."""
TREE_DAMAGED = "the running tree is damaged, so your settings are carried over as they are"
CONFLICTS_STAY = "open conflicts in /etc stay with the old deployment"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeRequest:
    """What a person asks for; without ``image`` it is the one that the machine follows."""

    verb: str
    image: str | None = None
    even_held: bool = False
    download_only: bool = False

    @property
    def words(self) -> str:
        """The verb and its image, as a person types them after ``atoll``."""
        return f"{self.verb} {quote(self.image)}" if self.image else self.verb


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeResult:
    """What an upgrade did; ``deployment`` is None when the image was only downloaded."""

    candidate: Candidate
    deployment: Deployment | None = None
    merge: Merge | None = None
    pruned: CleanupResult | None = None
    warning: str | None = None


def check_upgrade(sysroot: Sysroot, request: UpgradeRequest) -> Candidate:
    """The newer image, if there is one; raises NothingToDo, or Refused when it is held."""
    state = read_state(sysroot)
    with opened_candidate(sysroot, state, request.image) as candidate:
        check_new(candidate, sysroot, state, even_held=request.even_held)
        return candidate


def preview_upgrade(sysroot: Sysroot, request: UpgradeRequest) -> UpgradePreview:
    """All that can be known before anything is downloaded or changed; raises NothingToDo."""
    state = read_state(sysroot)
    current = require_current(state)
    with opened_candidate(sysroot, state, request.image) as candidate:
        check_new(candidate, sysroot, state, even_held=True)
        return inspect_upgrade(candidate, sysroot, state, current, even_held=request.even_held)


def upgrade(sysroot: Sysroot, request: UpgradeRequest, reporter: Reporter) -> UpgradeResult:
    """Make the requested image boot next.

    Raises NothingToDo, Refused, NotFound, NetworkError, NoSpace, Damaged, Busy or RecipeError; the
    machine is then as it was.
    """
    with locked_machine(sysroot) as machine:
        state = clean_up(machine, reporter)
        candidate = _download(machine, state, request, reporter)
        if request.download_only:
            return UpgradeResult(candidate=candidate)
        image = read_bootable(open_store(machine.atoll), candidate.tree)
        with _undone_on_error(machine), reporter.step(f"Staging {image.name} {image.version}"):
            staged = retry_if_changed(lambda: _stage(machine, state, image, candidate, request))
        if staged.damaged:
            reporter.notice(f"{TREE_DAMAGED}: {staged.damaged}")
        if staged.unread:
            reporter.notice(f"{CONFLICTS_STAY}: {staged.unread}")
        warning = format_warning(apply_until_failure(staged.plan.afterwards))
        pruned, prune_warning = _prune(machine, staged.keep, reporter)
    return UpgradeResult(
        candidate=candidate,
        deployment=staged.deployment,
        merge=staged.merge,
        pruned=pruned,
        warning=warning or prune_warning,
    )


def _download(
    machine: Sysroot, state: MachineState, request: UpgradeRequest, reporter: Reporter
) -> Candidate:
    """Check the image, then fetch all of it into the machine's store."""
    store = open_store(machine.atoll)
    current = require_current(state)
    even_held = request.even_held
    with opened_candidate(machine, state, request.image) as candidate:
        check_new(candidate, machine, state, even_held=even_held)
        preview = inspect_upgrade(candidate, machine, state, current, even_held=even_held)
        if preview.obstacle is not None:
            raise preview.obstacle
        fetched = fetch_candidate(candidate, store, reporter)
    _write_pending(store, fetched)
    return fetched


def _stage(
    machine: Sysroot,
    state: MachineState,
    image: BootableImage,
    candidate: Candidate,
    request: UpgradeRequest,
) -> StagingPlan:
    current = require_current(state)
    staged = plan_staging(machine, state, current, image, candidate.origin, verb=request.verb)
    check_staging_space(staged, machine, state)
    apply_operations(staged.plan.commit)
    return staged


def _write_pending(store: Store, candidate: Candidate) -> None:
    name = candidate.name or "image"
    ref = Ref(tree=candidate.tree, name=name, version=candidate.version, created=0)
    write_ref(store, PENDING, ref)


@contextmanager
def _undone_on_error(machine: Sysroot) -> Iterator[None]:
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
