"""Upgrade and rebase: from what an image says of itself to the deployment that boots next.

::

    leftovers cleared → target found → space → layers fetched → /etc merged, deployment written
      → kernel and initrd → one sector (``deploy``) → what policy no longer keeps is removed

Until that sector is written the machine is as it was, whatever happens.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, NoSpace, NotFound
from atoll.base.report import NullReporter
from atoll.image.bootable import read_bootable
from atoll.machine.candidate import check_new, compare_to_current, fetch_candidate, opened_candidate
from atoll.machine.cleanup import prune, tidy
from atoll.machine.deployments.apply import apply_operations, apply_until_failure, format_warning
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.retention import require_current
from atoll.machine.deployments.state import read_state
from atoll.machine.etc.stage import retry_if_changed
from atoll.machine.staging import plan_staging
from atoll.machine.upgrade_check import check_staging_space, find_obstacle, inspect_upgrade
from atoll.store.layout import open_store
from atoll.store.refs import Ref, remove_ref, write_ref

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.base.report import Reporter
    from atoll.machine.candidate import Candidate
    from atoll.machine.cleanup import CleanupResult
    from atoll.machine.deployment import Deployment
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.merge import Merge
    from atoll.machine.install import Space
    from atoll.machine.staging import StagingPlan
    from atoll.oci.system_label import PackageChanges
    from atoll.store.layout import Store

PENDING = "downloaded"
"""The ref that keeps what was fetched, until a deployment does."""
SETTINGS_AS_THEY_ARE = "the running tree is damaged, so your settings are carried over as they are"

CONFLICTS_STAY = "open conflicts in /etc stay with the old deployment"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeRequest:
    """What a person asks for; without ``image`` it is the one that the machine follows."""

    verb: str
    image: str | None = None
    even_held: bool = False
    download_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeResult:
    """What an upgrade came to; ``deployment`` is None when it was only fetched."""

    candidate: Candidate
    deployment: Deployment | None = None
    merge: Merge | None = None
    pruned: CleanupResult | None = None
    warning: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradePreview:
    """What an upgrade would do. ``etc`` is None while the image's ``/etc`` is not here;
    ``changed_here``, how many paths in ``/etc`` people changed, and ``made_here``, how many the
    machine did, for whoever may not read it."""

    candidate: Candidate
    packages: PackageChanges | None
    needed: Space
    free: Space
    etc: Merge | None
    changed_here: int | None
    made_here: int | None
    obstacle: AtollError | None


def check_upgrade(sysroot: Sysroot, request: UpgradeRequest) -> Candidate:
    """The newer image, if there is one; raises NothingToDo, or Refused when it is held."""
    state = read_state(sysroot)
    with opened_candidate(sysroot, state, request.image) as candidate:
        check_new(candidate, sysroot, state, even_held=request.even_held)
        return candidate


def preview_upgrade(sysroot: Sysroot, request: UpgradeRequest) -> UpgradePreview:
    """All that can be known before anything is fetched or changed; raises NothingToDo."""
    state = read_state(sysroot)
    current = require_current(state)
    store = open_store(sysroot.atoll)
    with opened_candidate(sysroot, state, request.image) as candidate:
        check_new(candidate, sysroot, state, even_held=True)
        found = inspect_upgrade(candidate, sysroot, state, current)
        return UpgradePreview(
            candidate=candidate,
            packages=compare_to_current(candidate, store, current),
            needed=found.needed,
            free=found.free,
            etc=found.merge,
            changed_here=found.changed_here,
            made_here=found.made_here,
            obstacle=find_obstacle(candidate, sysroot, state, found, even_held=request.even_held),
        )


def upgrade(sysroot: Sysroot, request: UpgradeRequest, reporter: Reporter) -> UpgradeResult:
    """Make the wished image what boots next.

    Raises NothingToDo, Refused, NotFound, NetworkError, NoSpace, Damaged, Busy or RecipeError; the
    machine is then as it was.
    """
    with locked_machine(sysroot) as machine:
        state = tidy(machine, reporter)
        current = require_current(state)
        store = open_store(machine.atoll)
        with opened_candidate(machine, state, request.image) as candidate:
            check_new(candidate, machine, state, even_held=request.even_held)
            found = inspect_upgrade(candidate, machine, state, current)
            obstacle = find_obstacle(candidate, machine, state, found, even_held=request.even_held)
            if obstacle is not None:
                raise obstacle
            candidate = fetch_candidate(candidate, store, reporter)
        _keep_pending(store, candidate)
        if request.download_only:
            return UpgradeResult(candidate=candidate)
        image = read_bootable(store, candidate.tree)

        def deploy() -> StagingPlan:
            made = plan_staging(machine, state, current, image, candidate.origin, what=request.verb)
            check_staging_space(made, machine, state)
            apply_operations(made.operations)
            return made

        with _cleared_up(machine), reporter.step(f"Staging {image.name} {image.version}"):
            made = retry_if_changed(deploy)
        if made.damaged:
            reporter.notice(f"{SETTINGS_AS_THEY_ARE}: {made.damaged}")
        if made.unread:
            reporter.notice(f"{CONFLICTS_STAY}: {made.unread}")
        warning = format_warning(apply_until_failure(made.afterwards))
        pruned, untidy = _prune(machine, made.machine_file.deployments, reporter)
        warning = warning or untidy
    return UpgradeResult(
        candidate=candidate,
        deployment=made.deployment,
        merge=made.merge,
        pruned=pruned,
        warning=warning,
    )


def _keep_pending(store: Store, candidate: Candidate) -> None:
    """What was fetched stays in the store until a deployment keeps it."""
    name = candidate.name or "image"
    ref = Ref(tree=candidate.tree, name=name, version=candidate.version, created=0)
    write_ref(store, PENDING, ref)


@contextmanager
def _cleared_up(machine: Sysroot) -> Iterator[None]:
    """After an error nothing half made stays, and no space stays taken where there is too little.

    What cannot be cleared up now goes with the next operation.
    """
    try:
        yield
    except BaseException as error:
        with suppress(AtollError, OSError):
            if isinstance(error, NoSpace):
                forget_pending(machine)
                prune(machine, len(read_state(machine).deployments), NullReporter())
            tidy(machine, NullReporter())
        raise


def forget_pending(sysroot: Sysroot) -> bool:
    """No longer keep what was fetched for a deployment to come; whether there was such."""
    try:
        remove_ref(open_store(sysroot.atoll), PENDING)
    except NotFound:
        return False
    return True


def _prune(
    machine: Sysroot, keep: int, reporter: Reporter
) -> tuple[CleanupResult | None, str | None]:
    """The new system boots next already: what cannot be removed now is told, and stays."""
    try:
        forget_pending(machine)
        tidied = prune(machine, keep, reporter)
        return tidied, tidied.warning
    except (AtollError, OSError) as error:
        return None, f"not all old deployments could be removed: {error}"
