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

from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING

from atoll.machine.candidate import (
    check_new,
    compare_with_tree,
    fetch_candidate,
    opened_candidate,
)
from atoll.machine.cleanup import clean_up
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.retention import require_current
from atoll.machine.deployments.state import read_state
from atoll.machine.stage_image import PENDING, stage_image
from atoll.machine.staging import StageRequest
from atoll.machine.upgrade_check import inspect_upgrade
from atoll.store.layout import open_store
from atoll.store.refs import Ref, write_ref

if TYPE_CHECKING:
    from atoll.base.report import Reporter
    from atoll.machine.candidate import Candidate
    from atoll.machine.cleanup import CleanupResult
    from atoll.machine.deployment import Deployment
    from atoll.machine.deployments.state import DeploymentState, MachineState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.merge import Merge
    from atoll.machine.upgrade_check import UpgradePreview
    from atoll.oci.system_label import PackageChanges
    from atoll.store.layout import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeRequest:
    """What a person asks for; without ``image`` it is the one that the machine follows.

    ``confirm``: how many seconds after it is up the new deployment must be confirmed; None if it
    need not be.
    """

    verb: str
    image: str | None = None
    even_held: bool = False
    download_only: bool = False
    confirm: int | None = None

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


def preview_staged(
    sysroot: Sysroot, state: MachineState
) -> tuple[DeploymentState | None, PackageChanges | None]:
    """The staged deployment, and what it changes in packages; nothing if none is staged."""
    default = state.default
    if default is None or not default.staged:
        return None, None
    store = open_store(sysroot.atoll)
    with opened_candidate(sysroot, state, default.deployment.tree) as candidate:
        return default, compare_with_tree(candidate, store, require_current(state).deployment.tree)


def upgrade(sysroot: Sysroot, request: UpgradeRequest, reporter: Reporter) -> UpgradeResult:
    """Make the requested image boot next.

    Raises NothingToDo, Refused, NotFound, NetworkError, NoSpace, Damaged, Busy or RecipeError; the
    machine is then as it was.
    """
    with locked_machine(sysroot) as machine:
        return upgrade_locked(machine, clean_up(machine, reporter), request, reporter)


def upgrade_locked(
    machine: Sysroot, state: MachineState, request: UpgradeRequest, reporter: Reporter
) -> UpgradeResult:
    """``upgrade`` of a machine that is locked and cleaned up."""
    candidate = download_candidate(machine, state, request, reporter)
    if request.download_only:
        return UpgradeResult(candidate=candidate)
    staged = stage_image(
        machine,
        state,
        StageRequest(
            verb=request.verb,
            tree=candidate.tree,
            origin=candidate.origin,
            confirm=request.confirm,
        ),
        reporter,
    )
    return UpgradeResult(
        candidate=candidate,
        deployment=staged.deployment,
        merge=staged.merge,
        pruned=staged.pruned,
        warning=staged.warning,
    )


def download_candidate(
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


def _write_pending(store: Store, candidate: Candidate) -> None:
    name = candidate.name or "image"
    ref = Ref(tree=candidate.tree, name=name, version=candidate.version, created=0)
    write_ref(store, PENDING, ref)
