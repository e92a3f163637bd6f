"""Staging: a tree of the machine's store becomes the deployment that boots next.

The order makes a power cut harmless (docs/decisions/0004): everything on the state partition is
complete and durable first, then kernel and initrd, and one sector of the boot entry commits.
Nothing that was there before is changed; what policy no longer keeps is removed afterwards.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atoll.base.errors import Refused
from atoll.image.policy import read_policy
from atoll.machine.boot.boot_entry import EntryName
from atoll.machine.boot.new_entry import make_entry
from atoll.machine.boot.secure_boot import read_secure_boot
from atoll.machine.deployment import make_deployment
from atoll.machine.deployments.apply import CommitPlan
from atoll.machine.deployments.confirmation import (
    Confirmation,
    clear_confirmation,
    require_way_back,
    set_confirmation,
)
from atoll.machine.deployments.flags import LastNumbers, set_last_numbers
from atoll.machine.deployments.history import HistoryEvent, RecordEvent
from atoll.machine.deployments.loader_operations import plan_loader_update
from atoll.machine.deployments.operations import (
    MakeDeployment,
    SyncStatePartition,
    WriteEntryList,
    WriteKernelPair,
    plan_entry,
    plan_machine_initrd,
)
from atoll.machine.deployments.retention import BOOT_TRIES
from atoll.machine.deployments.state import next_numbers
from atoll.machine.etc.damaged_tree import read_source_etc
from atoll.machine.etc.etc_commands import (
    NO_MODES,
    plan_files,
    read_etc_of_tree,
    with_files,
)
from atoll.machine.etc.merge import plan_merge
from atoll.machine.etc.overlay_upper import plan_upper
from atoll.machine.etc.stage import MergeInputs, etc_paths, plan_stage
from atoll.machine.fresh_start import check_reset_finished, keep_settings, plan_fresh_var
from atoll.machine.machine_file import LOCK_PLACE, PLACE, read_machine_file
from atoll.machine.secure_boot_check import check_kernel_signed
from atoll.machine.state_partition import check_can_open, find_state_partition

if TYPE_CHECKING:
    from atoll.base.ids import TreeId
    from atoll.image.bootable import BootableImage
    from atoll.machine.boot.boot_entry import BootEntry
    from atoll.machine.boot.new_entry import StatePartition
    from atoll.machine.deployment import Deployment, MachineFiles, Origin
    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.state import DeploymentState, MachineState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.etc_commands import MachineEtc
    from atoll.machine.etc.etc_tree import Node
    from atoll.machine.etc.merge import Merge
    from atoll.machine.fresh_start import FreshStart
    from atoll.machine.machine_file import MachineFile


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRequest:
    """Make ``tree``, which came from ``origin``, boot next. ``machine`` are the files that it was
    built from on this machine; they get into the ``/etc`` of what runs, too, and without a text
    there is no machine file. ``verb`` is for the history. ``confirm``: how many seconds after it is
    up it must be confirmed, or the machine goes back; None if it need not be."""

    verb: str
    tree: TreeId
    origin: Origin
    machine: MachineFiles | None = None
    confirm: int | None = None
    fresh: FreshStart | None = None
    """Set for a machine that starts anew (``atoll reset``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingPlan:
    """What makes ``deployment`` boot next by ``entry``, and what becomes of ``/etc``."""

    deployment: Deployment
    entry: BootEntry
    merge: Merge
    plan: CommitPlan
    keep: int
    """How many deployments the machine keeps, by its own file and the image's policy."""
    damaged: str = ""
    """Why the running tree could not be read: settings are carried over without a merge base."""
    unread: str = ""
    """Why open conflicts could not be read: they stay with the old deployment."""


def plan_staging(
    sysroot: Sysroot,
    state: MachineState,
    source: DeploymentState,
    image: BootableImage,
    request: StageRequest,
) -> StagingPlan:
    """Make ``image`` boot next, its ``/etc`` merged with that of ``source``.

    Raises Busy when ``/etc`` changes meanwhile, Refused when ids of the image are taken on this
    machine, RecipeError for the machine file.
    """
    check_reset_finished(sysroot, source.number)
    numbers = next_numbers(sysroot, state.menu)
    deployment = make_deployment(image, numbers.deployment)
    if request.fresh is None:
        staged = _plan_etc(sysroot, deployment, source, image, request.machine)
    else:
        staged = _plan_fresh_etc(sysroot, deployment, source, image, request.fresh)
    check_ids(f"{image.name} {image.version}", staged.merge)
    name = EntryName(sequence=numbers.sequence, tries_left=BOOT_TRIES)
    partition = find_state_partition(sysroot, state, source, staged.etc.live)
    _check_starts(sysroot, image, partition)
    entry = make_entry(image, deployment, partition, name)
    event = make_event(request.verb, deployment, state, image=request.origin.image)
    commit: tuple[Operation, ...] = (
        set_last_numbers(sysroot.state, numbers),
        MakeDeployment(
            sysroot=sysroot,
            deployment=deployment,
            origin=request.origin,
            recipe=image.recipe,
            lock=image.lock,
            machine=request.machine if request.machine and request.machine.text else None,
        ),
        *staged.operations,
        SyncStatePartition(path=sysroot.root),
        WriteKernelPair(directory=sysroot.esp / "atoll" / image.pair, image=image),
        *plan_machine_initrd(sysroot, partition),
        *plan_entry(sysroot, entry),
    )
    afterwards = (*staged.afterwards, *_plan_afterwards(sysroot, event, image))
    plan = CommitPlan(commit=commit, afterwards=afterwards)
    return StagingPlan(
        deployment=deployment,
        entry=entry,
        merge=staged.merge,
        plan=_with_confirmation(plan, sysroot, deployment, source, request.confirm),
        keep=staged.keep,
        damaged=staged.damaged,
        unread=staged.etc.unread,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _EtcPlan:
    """``operations`` write the ``/etc`` of the new deployment, ``afterwards`` change that of what
    runs."""

    etc: MachineEtc
    merge: Merge
    operations: tuple[Operation, ...]
    afterwards: tuple[Operation, ...]
    keep: int
    damaged: str


def _plan_etc(
    sysroot: Sysroot,
    deployment: Deployment,
    source: DeploymentState,
    image: BootableImage,
    machine: MachineFiles | None,
) -> _EtcPlan:
    new = read_etc_of_tree(image.store, image.tree)
    etc, damaged = read_source_etc(sysroot, source.number, new)
    files = _list_files(machine)
    modes = machine.modes if machine else NO_MODES
    live = with_files(etc.live, files, modes)
    machine_file = read_machine_file(live, read_policy(image.store, image.tree))
    merge, operations = plan_stage(
        MergeInputs(source=etc.deployment, old=etc.tree, live=live, new=new),
        etc_paths(sysroot, deployment.number),
        rules=machine_file.rules,
        earlier=etc.conflicts,
        seen=etc.live,
    )
    # Of a damaged tree the mounted ``/etc`` was not read: only the new deployment gets the files.
    return _EtcPlan(
        etc=etc,
        merge=merge,
        operations=operations,
        afterwards=() if damaged else plan_files(etc, files, modes),
        keep=machine_file.deployments,
        damaged=damaged,
    )


def _with_confirmation(
    plan: CommitPlan,
    sysroot: Sysroot,
    deployment: Deployment,
    source: DeploymentState,
    seconds: int | None,
) -> CommitPlan:
    """With ``seconds`` the new deployment has to be confirmed within that time, or the machine goes
    back to ``source``; without, an earlier request is forgotten. Raises Refused."""
    if seconds is None:
        return replace(plan, afterwards=(*plan.afterwards, *clear_confirmation(sysroot)))
    require_way_back(source)
    request = Confirmation(deployment=deployment.number, back=source.number, seconds=seconds)
    # The numbers come first: no other deployment can get the one that the request names.
    numbers, *others = plan.commit
    return replace(plan, commit=(numbers, set_confirmation(sysroot, request), *others))


def _plan_fresh_etc(
    sysroot: Sysroot,
    deployment: Deployment,
    source: DeploymentState,
    image: BootableImage,
    fresh: FreshStart,
) -> _EtcPlan:
    """The image's ``/etc`` with what is kept, a new /var, and nothing to be merged at the first
    boot."""
    new = read_etc_of_tree(image.store, image.tree)
    etc, damaged = read_source_etc(sysroot, source.number, new)
    kept = keep_settings(etc.live, new)
    return _EtcPlan(
        etc=etc,
        merge=plan_merge(new, kept, new),
        operations=(
            *plan_upper(kept, new, etc_paths(sysroot, deployment.number).upper),
            *plan_fresh_var(sysroot, deployment.number, kept, fresh),
        ),
        afterwards=(),
        keep=read_machine_file(new, read_policy(image.store, image.tree)).deployments,
        damaged=damaged,
    )


def _list_files(machine: MachineFiles | None) -> dict[str, bytes | None]:
    if machine is None:
        return {}
    text, lock = machine.text or None, machine.lock or None
    return {PLACE: text, LOCK_PLACE: lock, **dict(machine.others)}


def _check_starts(sysroot: Sysroot, image: BootableImage, partition: StatePartition) -> None:
    """Raises Refused for an image that cannot start on this machine."""
    check_can_open(image, partition.luks, partition.initrd)
    if sysroot.is_running:
        check_kernel_signed(image, read_secure_boot())


def _plan_afterwards(
    sysroot: Sysroot, event: HistoryEvent, image: BootableImage
) -> tuple[Operation, ...]:
    """The boot loader comes last: whatever becomes of it, the new version is in the menu."""
    return (
        RecordEvent(state=sysroot.state, event=event),
        WriteEntryList(sysroot=sysroot),
        *plan_loader_update(sysroot, image.loader),
    )


def preview_etc(etc: MachineEtc, new: Node, settings: MachineFile) -> Merge:
    """What ``plan_staging`` would make of ``/etc`` with the image's ``new`` one."""
    return plan_merge(etc.tree, etc.live, new, settings.rules)


def make_event(
    what: str, deployment: Deployment, state: MachineState, *, image: str = ""
) -> HistoryEvent:
    was = state.default or state.current
    return HistoryEvent(
        when=int(time.time()),
        what=what,
        deployment=deployment.number,
        was=None if was is None else was.number,
        name=deployment.name,
        version=deployment.version,
        tree=deployment.tree,
        image=image,
    )


def copy_entry(state: MachineState, number: int, name: EntryName) -> BootEntry:
    """Another entry for a deployment that has one; raises Refused when none can be read."""
    for menu_entry in state.menu.entries_of(number):
        if menu_entry.entry is not None:
            return replace(menu_entry.entry, name=name)
    others = ", ".join(str(each) for each in sorted({e.deployment for e in state.menu.entries}))
    raise Refused(
        f"no entry on the ESP boots deployment {number}",
        hint=f"there are entries for: {others or 'no deployment'}",
    )


def reserve_sequences(sysroot: Sysroot, state: MachineState, entries: int) -> tuple[int, Operation]:
    """The first of ``entries`` sequence numbers, and what reserves them all."""
    numbers = next_numbers(sysroot, state.menu)
    last = LastNumbers(deployment=numbers.deployment - 1, sequence=numbers.sequence + entries - 1)
    return numbers.sequence, set_last_numbers(sysroot.state, last)


def check_ids(title: str, merge: Merge) -> None:
    """Raises Refused when the image needs user or group ids that are taken on this machine."""
    if merge.id_conflicts:
        conflicts = "; ".join(each.describe() for each in merge.id_conflicts)
        raise Refused(
            f"{title} needs ids that are taken on this machine: {conflicts}",
            hint="build the image with this machine's ids, or give these users other ids here",
        )
