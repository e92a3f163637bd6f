"""What an upgrade would do, and why it would be refused: one check for ``plan`` and for the verb.

``plan`` shows the ``obstacle`` of ``inspect_upgrade``; the verb raises it before anything is
downloaded. Once the image is here and ``/etc`` is merged, ``check_staging_space`` looks again.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, Damaged
from atoll.image.bootable import require_bootable
from atoll.image.policy import find_policy
from atoll.machine.candidate import (
    check_new,
    compare_with_tree,
    needed_on_esp,
    read_candidate_etc,
    read_candidate_image_json,
    suggest_space,
)
from atoll.machine.deployments.confirmation import require_confirmed
from atoll.machine.deployments.state import next_numbers, read_origin
from atoll.machine.etc.damaged_tree import read_source_etc
from atoll.machine.etc.stage import MergeInputs, etc_paths, plan_stage, retry_if_changed
from atoll.machine.live_preview import preview_live
from atoll.machine.machine_file import read_machine_file
from atoll.machine.space import INODES, Space, check_space, cost_of, measure_free
from atoll.machine.staging import check_ids, preview_etc
from atoll.store.layout import open_store
from atoll.tree.etc_rules import is_machine_made

if TYPE_CHECKING:
    from atoll.base.ids import TreeId
    from atoll.machine.candidate import Candidate
    from atoll.machine.deployments.state import DeploymentState, MachineState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.etc_commands import MachineEtc
    from atoll.machine.etc.etc_tree import Node
    from atoll.machine.etc.merge import Merge
    from atoll.machine.machine_file import MachineFile
    from atoll.machine.staging import StagingPlan
    from atoll.oci.system_label import PackageChanges


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradePreview:
    """What an upgrade would do. ``needed`` is for the download and ``/etc`` together.

    ``etc`` is None while the image's ``/etc`` is not known. ``changed_here`` counts the paths in
    ``/etc`` that people changed, ``made_here`` those that the machine made; both are None for users
    who may not read it. ``live`` is why it needs a reboot, empty if it can go live, and None while
    that is not known. ``obstacle`` is why the upgrade is refused, None when nothing known is in
    its way.
    """

    candidate: Candidate
    packages: PackageChanges | None
    needed: Space
    free: Space
    etc: Merge | None
    changed_here: int | None
    made_here: int | None
    obstacle: AtollError | None
    live: tuple[str, ...] | None = None


def inspect_upgrade(
    candidate: Candidate,
    sysroot: Sysroot,
    state: MachineState,
    current: DeploymentState,
    *,
    even_held: bool,
) -> UpgradePreview:
    """Raises NetworkError, Damaged, Busy, or RecipeError for the machine file."""
    store = open_store(sysroot.atoll)
    new = read_candidate_etc(candidate, store)
    etc, _ = retry_if_changed(lambda: read_source_etc(sysroot, current.number, new))
    # The policy of the image counts, but it is only known once the image is here.
    tree = candidate.tree if candidate.is_here else current.deployment.tree
    settings = read_machine_file(etc.live, find_policy(store, tree))
    image_json = read_candidate_image_json(candidate, store)
    made = sum(is_machine_made(path) for path, _ in etc.changes)
    preview = UpgradePreview(
        candidate=candidate,
        # Images are compared: what the machine file adds comes along.
        packages=compare_with_tree(candidate, store, _image_tree(sysroot, current)),
        needed=_add_etc(
            replace(candidate.needed, esp=needed_on_esp(candidate, state)),
            _cost_of_etc(sysroot, state, etc, etc.tree if new is None else new, settings),
        ),
        free=measure_free(sysroot),
        etc=None if new is None else preview_etc(etc, new, settings),
        changed_here=len(etc.changes) - made,
        made_here=made,
        obstacle=None,
        live=preview_live(candidate, sysroot, store, current, image_json),
    )
    try:
        require_confirmed(sysroot)
        check_new(candidate, sysroot, state, even_held=even_held)
        if image_json is not None:
            require_bootable(image_json, candidate.tree)
        if preview.etc is not None:
            check_ids(candidate.title, preview.etc)
        hint = suggest_space(sysroot, state, settings.deployments)
        check_space(candidate.title, preview.needed, sysroot, preview.free, hint)
    except AtollError as error:
        return replace(preview, obstacle=error)
    return preview


def _image_tree(sysroot: Sysroot, current: DeploymentState) -> TreeId:
    """The tree of the image that runs, without what the machine file adds."""
    with suppress(Damaged, OSError):  # a damaged origin must not block the rebase that cures it
        return read_origin(sysroot, current.number).base or current.deployment.tree
    return current.deployment.tree


def check_staging_space(staged: StagingPlan, sysroot: Sysroot, state: MachineState) -> None:
    """Raises NoSpace when a deployment's ``/etc`` does not fit, before any of it is written."""
    hint = suggest_space(sysroot, state, staged.keep)
    needed = cost_of(staged.plan.commit)
    check_space(staged.deployment.title, needed, sysroot, measure_free(sysroot), hint)


def _cost_of_etc(
    sysroot: Sysroot, state: MachineState, etc: MachineEtc, new: Node, settings: MachineFile
) -> Space:
    """What the new deployment's ``/etc`` takes; ``new`` is the running tree's while the image's is
    not known."""
    inputs = MergeInputs(source=etc.deployment, old=etc.tree, live=etc.live, new=new)
    paths = etc_paths(sysroot, next_numbers(sysroot, state.menu).deployment)
    _, operations = plan_stage(inputs, paths, rules=settings.rules, earlier=etc.conflicts)
    return cost_of(operations)


def _add_etc(needed: Space, etc: Space) -> Space:
    return replace(
        needed,
        state=needed.state + etc.state,
        inodes=(needed.inodes or 0) + (etc.inodes or 0) + INODES,
    )
