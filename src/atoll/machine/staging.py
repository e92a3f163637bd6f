"""A tree of the machine's store becomes the deployment that boots next.

The order makes a cut harmless (docs/decisions/0004): what is below ``/`` of the state partition is
complete and durable first, then kernel and initrd, and one sector of the boot entry decides. What
was there before is changed by nothing of this; what policy no longer keeps goes afterwards.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atoll.base.errors import Refused
from atoll.machine.boot.boot_entry import BootEntry, EntryName, entry_title
from atoll.machine.deployment import Deployment
from atoll.machine.deployments.flags import LastNumbers, set_last_numbers
from atoll.machine.deployments.history import HistoryEvent, RecordEvent
from atoll.machine.deployments.operations import (
    MakeDeployment,
    SyncStatePartition,
    WriteEntryList,
    WriteKernelPair,
    plan_entry,
)
from atoll.machine.deployments.retention import BOOT_TRIES
from atoll.machine.deployments.state import next_numbers
from atoll.machine.etc.damaged_tree import read_source_etc
from atoll.machine.etc.etc_commands import read_etc_of_tree
from atoll.machine.etc.merge import plan_merge
from atoll.machine.etc.stage import MergeInputs, etc_paths, plan_stage
from atoll.machine.install import StatePartition, boot_options, find_uuid
from atoll.machine.machine_file import read_machine_file
from atoll.machine.policy import read_policy

if TYPE_CHECKING:
    from atoll.image.bootable import BootableImage
    from atoll.machine.deployment import Origin
    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.state import DeploymentState, MachineState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.etc_commands import MachineEtc
    from atoll.machine.etc.etc_tree import Node
    from atoll.machine.etc.merge import Merge
    from atoll.machine.machine_file import MachineFile


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingPlan:
    """What makes a deployment, in order, its commit last; ``afterwards`` are notes of it."""

    deployment: Deployment
    merge: Merge
    machine_file: MachineFile
    operations: tuple[Operation, ...]
    afterwards: tuple[Operation, ...]
    damaged: str = ""
    """Why the tree that is left could not be read; its settings were taken along as they are."""
    unread: str = ""
    """Why there may be conflicts that nobody can read; they stay with what is left."""


def plan_staging(
    sysroot: Sysroot,
    state: MachineState,
    source: DeploymentState,
    image: BootableImage,
    origin: Origin,
    *,
    what: str,
) -> StagingPlan:
    """Make ``image`` boot next, its ``/etc`` merged with that of ``source``.

    ``what`` is the verb, for the history. Raises Busy when ``/etc`` changes meanwhile, Refused when
    the image cannot have its users' ids on this machine, RecipeError for the machine file.
    """
    numbers = next_numbers(sysroot, state.menu)
    deployment = _make_deployment(image, numbers.deployment)
    new = read_etc_of_tree(image.store, image.tree)
    etc, damaged = read_source_etc(sysroot, source.number, new)
    machine_file = read_machine_file(etc.live, read_policy(image.store, image.tree))
    place = etc_paths(sysroot, deployment.number)
    views = MergeInputs(source=etc.deployment, old=etc.tree, live=etc.live, new=new)
    merge, staging = plan_stage(views, place, rules=machine_file.rules, earlier=etc.conflicts)
    check_ids(f"{image.name} {image.version}", merge)
    partition = find_partition(sysroot, state, source)
    name = EntryName(sequence=numbers.sequence, tries_left=BOOT_TRIES)
    title = entry_title(image.title or image.name, image.version, deployment.number)
    entry = make_entry(
        deployment, name, boot_options(deployment, partition, image.arguments), title=title
    )
    event = make_event(what, deployment, state, image=origin.image)
    return StagingPlan(
        deployment=deployment,
        merge=merge,
        machine_file=machine_file,
        damaged=damaged,
        unread=etc.unread,
        operations=(
            set_last_numbers(sysroot.state, numbers),
            MakeDeployment(
                sysroot=sysroot,
                deployment=deployment,
                origin=origin,
                recipe=image.recipe,
                lock=image.lock,
            ),
            *staging,
            SyncStatePartition(path=sysroot.root),
            WriteKernelPair(directory=sysroot.esp / "atoll" / image.pair, image=image),
            *plan_entry(sysroot, entry),
        ),
        afterwards=(RecordEvent(state=sysroot.state, event=event), WriteEntryList(sysroot=sysroot)),
    )


def _make_deployment(image: BootableImage, number: int) -> Deployment:
    return Deployment(
        number=number,
        tree=image.tree,
        name=image.name,
        version=image.version,
        kernel=image.kernel,
        pair=image.pair,
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


def make_entry(
    deployment: Deployment, name: EntryName, options: tuple[str, ...], *, title: str
) -> BootEntry:
    return BootEntry(
        name=name,
        title=title,
        linux=f"/atoll/{deployment.pair}/linux",
        initrd=f"/atoll/{deployment.pair}/initrd",
        options=options,
    )


def copy_entry(state: MachineState, number: int, name: EntryName) -> BootEntry:
    """Another entry for a deployment that has one; raises Refused when none can be read."""
    for menu_entry in state.menu.of(number):
        if menu_entry.entry is not None:
            return replace(menu_entry.entry, name=name)
    raise Refused(f"no entry on the ESP boots deployment {number}", hint="see: atoll status")


def find_partition(
    sysroot: Sysroot, state: MachineState, source: DeploymentState
) -> StatePartition:
    """Where early boot finds the deployments: what the entry of ``source`` says of it."""
    for menu_entry in state.menu.of(source.number):
        place = menu_entry.entry.option("atoll.state") if menu_entry.entry else None
        if menu_entry.entry is not None and place is not None and place.startswith("UUID="):
            verity = menu_entry.entry.option("atoll.verity") == "require"
            return StatePartition(uuid=place.removeprefix("UUID="), verity=verity)
    from atoll.store.layout import open_store
    from atoll.store.objects import can_seal

    staging = open_store(sysroot.atoll).staging
    return StatePartition(uuid=find_uuid(sysroot.root), verity=can_seal(staging))


def reserve_sequences(sysroot: Sysroot, state: MachineState, entries: int) -> tuple[int, Operation]:
    """The first of ``entries`` sequence numbers, and what reserves them all."""
    numbers = next_numbers(sysroot, state.menu)
    last = LastNumbers(deployment=numbers.deployment - 1, sequence=numbers.sequence + entries - 1)
    return numbers.sequence, set_last_numbers(sysroot.state, last)


def check_ids(title: str, merge: Merge) -> None:
    """Raises Refused when the image needs ids that are others' here."""
    if merge.id_conflicts:
        told = "; ".join(each.describe() for each in merge.id_conflicts)
        raise Refused(
            f"{title} needs ids that are taken on this machine: {told}",
            hint="build the image with this machine's ids, or give these users other ids here",
        )
