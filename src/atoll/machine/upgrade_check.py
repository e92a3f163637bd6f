"""What an upgrade will come to, and why it would be refused: one judgement for ``plan`` and verb.

``plan`` tells what ``find_obstacle`` says; the verb raises it before anything is fetched. When the
image is here and ``/etc`` is merged for good, ``check_staging_space`` looks once more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError
from atoll.image.bootable import check_facts
from atoll.machine.candidate import (
    check_new,
    needed_on_esp,
    read_candidate_etc,
    read_candidate_image_json,
    suggest_space,
)
from atoll.machine.deployments.state import next_numbers
from atoll.machine.etc.damaged_tree import read_source_etc
from atoll.machine.etc.stage import MergeInputs, etc_paths, plan_stage, retry_if_changed
from atoll.machine.install import measure_free
from atoll.machine.machine_file import read_machine_file
from atoll.machine.policy import find_policy
from atoll.machine.space import INODES, check_space, cost_of
from atoll.machine.staging import check_ids, preview_etc
from atoll.store.layout import open_store
from atoll.tree.etc_rules import is_machine_made

if TYPE_CHECKING:
    from atoll.machine.candidate import Candidate
    from atoll.machine.deployments.state import DeploymentState, MachineState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.etc_commands import MachineEtc
    from atoll.machine.etc.etc_tree import Node
    from atoll.machine.etc.merge import Merge
    from atoll.machine.install import Space
    from atoll.machine.machine_file import MachineFile
    from atoll.machine.staging import StagingPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeCheck:
    """``merge`` is None while the image's ``/etc`` cannot be seen. ``needed`` is what all of it
    takes, pull and ``/etc`` together; ``damaged`` says why settings are taken along as they are,
    without knowing what the tree that is left had. ``changed_here`` counts paths in ``/etc`` that
    people changed, ``made_here`` those that the machine made."""

    settings: MachineFile
    merge: Merge | None
    changed_here: int
    made_here: int
    needed: Space
    free: Space
    facts: bytes | None
    damaged: str = ""


def inspect_upgrade(
    candidate: Candidate, sysroot: Sysroot, state: MachineState, current: DeploymentState
) -> UpgradeCheck:
    """Raises NetworkError, Damaged, Busy, or RecipeError for the machine file."""
    store = open_store(sysroot.atoll)
    new = read_candidate_etc(candidate, store)
    etc, damaged = retry_if_changed(lambda: read_source_etc(sysroot, current.number, new))
    shown = candidate.tree if candidate.is_here else current.deployment.tree
    settings = read_machine_file(etc.live, find_policy(store, shown))
    esp = needed_on_esp(candidate, state)
    made = sum(is_machine_made(path) for path, _ in etc.changes)
    return UpgradeCheck(
        settings=settings,
        merge=None if new is None else preview_etc(etc, new, settings),
        changed_here=len(etc.changes) - made,
        made_here=made,
        needed=_with_etc(
            replace(candidate.needed, esp=esp),
            _cost_of_etc(sysroot, state, etc, etc.tree if new is None else new, settings),
        ),
        free=measure_free(sysroot),
        facts=read_candidate_image_json(candidate, store),
        damaged=damaged,
    )


def find_obstacle(
    candidate: Candidate,
    sysroot: Sysroot,
    state: MachineState,
    check: UpgradeCheck,
    *,
    even_held: bool,
) -> AtollError | None:
    """Why the upgrade is refused; None when nothing that can be known stands in its way."""
    try:
        check_new(candidate, sysroot, state, even_held=even_held)
        if check.facts is not None:
            check_facts(check.facts, candidate.tree)
        if check.merge is not None:
            check_ids(candidate.title, check.merge)
        hint = suggest_space(state, check.settings.deployments)
        check_space(candidate.title, check.needed, sysroot, check.free, hint)
    except AtollError as error:
        return error
    return None


def check_staging_space(made: StagingPlan, sysroot: Sysroot, state: MachineState) -> None:
    """Raises NoSpace when there is no room for the ``/etc`` of a deployment, before it is made."""
    hint = suggest_space(state, made.machine_file.deployments)
    check_space(
        made.deployment.title, cost_of(made.operations), sysroot, measure_free(sysroot), hint
    )


def _cost_of_etc(
    sysroot: Sysroot, state: MachineState, etc: MachineEtc, new: Node, settings: MachineFile
) -> Space:
    """While the image's ``/etc`` is not known, what this one takes once more."""
    views = MergeInputs(source=etc.deployment, old=etc.tree, live=etc.live, new=new)
    place = etc_paths(sysroot, next_numbers(sysroot, state.menu).deployment)
    _, plan = plan_stage(views, place, rules=settings.rules, earlier=etc.conflicts)
    return cost_of(plan)


def _with_etc(needed: Space, etc: Space) -> Space:
    return replace(
        needed,
        state=needed.state + etc.state,
        inodes=(needed.inodes or 0) + (etc.inodes or 0) + INODES,
    )
