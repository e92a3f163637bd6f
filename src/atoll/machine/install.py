"""The first deployment of a machine: an image of a store becomes a sysroot with its ESP.

The order makes a power cut harmless (docs/decisions/0004): check the space, then write the objects,
the deployment, kernel and initrd, and last the boot entry, which commits. The first deployment is
on trial like any other: its boots are counted until one is healthy, so a failed boot leaves
evidence and is tried again. systemd-boot also starts an entry without tries left when there is no
other one, so a machine whose first boots failed can still be reached.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import MissingProgram, Refused
from atoll.host.fs import OWN_LIMIT, make_directory, read_regular
from atoll.image.bootable import BootLoader, objects_of
from atoll.machine.boot.boot_entries import read_menu
from atoll.machine.boot.boot_entry import EntryName
from atoll.machine.boot.luks import find_luks
from atoll.machine.boot.new_entry import NO_UUID, StatePartition, find_uuid, make_entry
from atoll.machine.deployment import make_deployment
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.flags import BLESSED, SetFlag
from atoll.machine.deployments.loader_operations import InstallLoader
from atoll.machine.deployments.object_transfer import choose_transfer
from atoll.machine.deployments.operations import (
    CommitEntry,
    DraftEntry,
    ImportTree,
    MakeDeployment,
    Operation,
    SyncStatePartition,
    WriteEntryList,
    WriteKernelPair,
    WriteMachineInitrd,
    plan_machine_initrd,
)
from atoll.machine.deployments.retention import BOOT_TRIES
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.space import BLOCK, Space, check_space, measure_free
from atoll.machine.state_partition import check_can_open
from atoll.store.layout import open_store
from atoll.store.objects import can_seal
from atoll.tree.verity import stored_size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atoll.base.ids import ObjectId
    from atoll.base.report import Reporter
    from atoll.image.bootable import BootableImage
    from atoll.machine.deployment import Origin
    from atoll.machine.deployments.operations import ObjectTransfer
    from atoll.store.layout import Store

HOST_LOADERS = Path("/usr/lib/systemd/boot/efi")
MENU_SECONDS = 3
FIRST = 1


def needed_space(image: BootableImage, missing: Iterable[int]) -> Space:
    """Space for missing objects of these sizes, for the tree's image, and on the ESP.

    Counts whole blocks, Merkle trees, and directory entries.
    """
    contents = [*missing, image_size(image)]
    state = sum(stored_size(size) + 512 for size in contents) + 64 * BLOCK
    pair = image.kernel_pair
    files = (pair.linux_size, pair.initrd_size, image.loader.size, image.loader.size)
    return Space(state=state, esp=sum(files) + 64 * BLOCK)


def image_size(image: BootableImage) -> int:
    """Bytes of the composefs image itself."""
    return image.store.image_path(image.tree).stat().st_size


def plan_install(
    image: BootableImage,
    origin: Origin,
    *,
    sysroot: Sysroot,
    state: StatePartition,
    contents: ObjectTransfer,
    objects: tuple[ObjectId, ...],
) -> tuple[Operation, ...]:
    """All that makes ``image`` the first deployment of ``sysroot``, in its order.

    A live system is not on trial: its entry is not counted, since the loader would write the tries
    to the stick, and it has the mark of a deployment that booted, since nothing writes it later.
    """
    deployment = make_deployment(image, FIRST)
    name = EntryName(sequence=FIRST, tries_left=None if state.live else BOOT_TRIES)
    blessed = (SetFlag(path=sysroot.state / BLESSED / str(FIRST)),) if state.live else ()
    entry = make_entry(image, deployment, state, name)
    return (
        ImportTree(tree=image.tree, objects=objects, contents=contents),
        SyncStatePartition(path=sysroot.root),
        MakeDeployment(
            sysroot=sysroot,
            deployment=deployment,
            origin=origin,
            recipe=image.recipe,
            lock=image.lock,
        ),
        *blessed,
        SyncStatePartition(path=sysroot.root),
        InstallLoader(
            esp=sysroot.loader_esp,
            loader=image.loader,
            timeout=MENU_SECONDS if image.timeout is None else image.timeout,
        ),
        WriteKernelPair(directory=sysroot.esp / "atoll" / image.pair, image=image, fresh=True),
        *plan_machine_initrd(sysroot, state),
        DraftEntry(directory=sysroot.entries, entry=entry),
        CommitEntry(directory=sysroot.entries, entry=entry),
        WriteEntryList(sysroot=sysroot),
    )


def after_deployment(
    plan: tuple[Operation, ...], operations: tuple[Operation, ...]
) -> tuple[Operation, ...]:
    """``plan`` of an install, with ``operations`` right after its deployment is made: before the
    sync that makes both durable, and before the boot entry."""
    number = next(index for index, each in enumerate(plan) if isinstance(each, MakeDeployment))
    return (*plan[: number + 1], *operations, *plan[number + 1 :])


def install(
    image: BootableImage,
    origin: Origin,
    sysroot: Sysroot,
    *,
    source: Store,
    reporter: Reporter,
    settings: tuple[Operation, ...] = (),
) -> None:
    """Make ``image`` the first deployment of ``sysroot``.

    ``settings`` write a person's settings into it. The boot entry names the machine's own initrd
    if it is among them.
    """
    check_empty(sysroot)
    image = with_loader(image)
    make_directory(sysroot.root)
    make_directory(sysroot.esp)
    target = open_store(sysroot.atoll, create=True)
    objects = objects_of(source, image.tree)
    missing = [size for name, size in objects.items() if not target.object_path(name).exists()]
    title = f"{image.name} {image.version}"
    hint = "use a larger disk, or remove other files from it"
    check_space(title, needed_space(image, missing), sysroot, measure_free(sysroot), hint)
    state = StatePartition(
        uuid=find_uuid(sysroot.root),
        verity=can_seal(target.staging),
        luks=find_luks(sysroot.root),
        initrd=b"".join(each.content for each in settings if isinstance(each, WriteMachineInitrd)),
    )
    check_can_open(image, state.luks, state.initrd)
    if state.uuid == NO_UUID:
        reporter.notice(
            f"the file system of {sysroot.root} has no UUID, so early boot cannot find it"
        )
    contents = choose_transfer(target, source)
    plan = plan_install(
        image,
        origin,
        sysroot=sysroot,
        state=state,
        contents=contents,
        objects=tuple(sorted(objects)),
    )
    apply_operations(after_deployment(plan, settings), reporter)


def sysroot_in(root: Path) -> Sysroot:
    """That of a machine whose state partition is at ``root``, its ESP below."""
    return Sysroot(root=root, esp=root / "esp")


def check_empty(sysroot: Sysroot) -> None:
    """Raises Refused when a system can already boot there, but not after an interrupted install."""
    if read_menu(sysroot.entries, sysroot.entry_list).entries:
        hint = f"look at it with: {sysroot.command('status')}"
        raise Refused(f"{sysroot.root} already has a system", hint=hint)


def with_loader(image: BootableImage) -> BootableImage:
    """``image`` with a boot loader: its own, or this machine's."""
    if image.loader.program:
        return image
    path = HOST_LOADERS / f"systemd-boot{image.efi_name}.efi"
    try:
        program = read_regular(path, limit=OWN_LIMIT, follow=True)
        return replace(image, loader=BootLoader(efi_name=image.efi_name, program=program))
    except FileNotFoundError:
        raise MissingProgram(
            f"neither the image nor this machine has systemd-boot ({path})",
            hint="add the package systemd-boot-efi to the recipe",
        ) from None
