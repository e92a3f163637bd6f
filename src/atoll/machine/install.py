"""The first deployment of a machine: an image of a store becomes a sysroot with its ESP.

The order makes a cut harmless (docs/decisions/0004): space first, then contents, then the
deployment, then kernel and initrd, and the boot entry as the last operation that decides anything.
The first deployment is on trial like any other: its entry is counted until its first healthy boot,
so a boot that fails leaves evidence and starts again. The loader starts an entry whose tries are
used up when it has no other one, so a machine whose first boots failed has a way in all the same.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import MissingProgram, NoSpace, Refused
from atoll.host.fs import OWN_LIMIT, make_directory, read_regular
from atoll.host.run import run
from atoll.host.syscalls import file_system_uuid
from atoll.image.bootable import objects_of
from atoll.machine.boot.boot_entries import read_menu
from atoll.machine.boot.boot_entry import BootEntry, EntryName, entry_title
from atoll.machine.deployment import Deployment, Origin
from atoll.machine.deployments.object_transfer import choose_transfer
from atoll.machine.deployments.operations import (
    CommitEntry,
    DraftEntry,
    ImportTree,
    InstallLoader,
    MakeDeployment,
    Operation,
    SyncStatePartition,
    WriteEntryList,
    WriteKernelPair,
)
from atoll.machine.deployments.retention import BOOT_TRIES
from atoll.machine.deployments.sysroot import Sysroot
from atoll.store.layout import open_store
from atoll.store.objects import can_seal
from atoll.tree.verity import stored_size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atoll.base.ids import ObjectId
    from atoll.base.report import Reporter
    from atoll.image.bootable import BootableImage
    from atoll.machine.deployments.operations import ObjectTransfer
    from atoll.store.layout import Store

HOST_LOADERS = Path("/usr/lib/systemd/boot/efi")
PANIC_SECONDS = 10
MENU_SECONDS = 3
BLOCK = 4096
FIRST = 1
NO_UUID = "00000000-0000-0000-0000-000000000000"
"""What a file system is called that early boot cannot find by its UUID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatePartition:
    """The file system that early boot finds a machine's deployments on."""

    uuid: str
    verity: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Bytes that are free, or that are needed, on both partitions, and inodes on the first; None
    where a file system has no fixed number of them."""

    state: int
    esp: int
    inodes: int | None = None


def boot_options(
    deployment: Deployment, state: StatePartition, arguments: tuple[str, ...]
) -> tuple[str, ...]:
    """The kernel command line: what early boot obeys, then what the recipe says."""
    verity = ("atoll.verity=require",) if state.verity else ()
    return (
        f"composefs={deployment.tree}",
        f"atoll.state=UUID={state.uuid}",
        f"atoll.deployment={deployment.number}",
        *verity,
        f"panic={PANIC_SECONDS}",
        *arguments,
    )


def needed_space(image: BootableImage, missing: Iterable[int]) -> Space:
    """Room for missing contents of these sizes, the tree's image and what is on the ESP.

    Whole blocks, verity blocks and a block for each inode's directory entry included.
    """
    contents = [*missing, image_size(image)]
    state = sum(stored_size(size) + 512 for size in contents) + 64 * BLOCK
    pair = image.kernel_pair
    files = (pair.linux_size, pair.initrd_size, len(image.loader), len(image.loader))
    return Space(state=state, esp=sum(files) + 64 * BLOCK)


def image_size(image: BootableImage) -> int:
    """Bytes of the composefs image itself."""
    return image.store.image_path(image.tree).stat().st_size


def check_space(needed: Space, free: Space, sysroot: Sysroot) -> None:
    """Raises NoSpace that says how much is missing, and where."""
    for name, path, want, have in (
        ("the state partition", sysroot.root, needed.state, free.state),
        ("the ESP", sysroot.esp, needed.esp, free.esp),
    ):
        if want > have:
            raise NoSpace(
                f"{name} at {path} is too small: {want >> 20} MiB are needed, {have >> 20} free",
                hint=f"give it {(want - have >> 20) + 1} MiB more",
            )


def plan_install(
    image: BootableImage,
    origin: Origin,
    *,
    sysroot: Sysroot,
    state: StatePartition,
    contents: ObjectTransfer,
    objects: tuple[ObjectId, ...],
) -> tuple[Operation, ...]:
    """All that makes ``image`` the first deployment of ``sysroot``, in its order."""
    deployment = Deployment(
        number=FIRST,
        tree=image.tree,
        name=image.name,
        version=image.version,
        kernel=image.kernel,
        pair=image.pair,
    )
    entry = BootEntry(
        name=EntryName(sequence=FIRST, tries_left=BOOT_TRIES),
        title=entry_title(image.title or image.name, image.version, FIRST),
        linux=f"/atoll/{image.pair}/linux",
        initrd=f"/atoll/{image.pair}/initrd",
        options=boot_options(deployment, state, image.arguments),
    )
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
        SyncStatePartition(path=sysroot.root),
        InstallLoader(
            esp=sysroot.esp,
            efi_name=image.efi_name,
            program=image.loader,
            timeout=MENU_SECONDS if image.timeout is None else image.timeout,
        ),
        WriteKernelPair(directory=sysroot.esp / "atoll" / image.pair, image=image, fresh=True),
        DraftEntry(directory=sysroot.entries, entry=entry),
        CommitEntry(directory=sysroot.entries, entry=entry),
        WriteEntryList(sysroot=sysroot),
    )


def apply_plan(plan: tuple[Operation, ...], reporter: Reporter) -> None:
    for operation in plan:
        with reporter.step(operation.describe()):
            operation.execute()


def install(
    image: BootableImage, origin: Origin, root: Path, *, source: Store, reporter: Reporter
) -> Sysroot:
    """Make ``image`` the first deployment of the machine in directory ``root``."""
    sysroot = Sysroot(root=root, esp=root / "esp")
    check_empty(sysroot)
    image = with_loader(image)
    make_directory(root)
    make_directory(sysroot.esp)
    target = open_store(sysroot.atoll, create=True)
    objects = objects_of(source, image.tree)
    missing = [size for name, size in objects.items() if not target.object_path(name).exists()]
    check_space(needed_space(image, missing), measure_free(sysroot), sysroot)
    state = StatePartition(uuid=find_uuid(root), verity=can_seal(target.staging))
    if state.uuid == NO_UUID:
        reporter.notice(f"the file system of {root} has no UUID, so early boot cannot find it")
    contents = choose_transfer(target, source)
    plan = plan_install(
        image,
        origin,
        sysroot=sysroot,
        state=state,
        contents=contents,
        objects=tuple(sorted(objects)),
    )
    apply_plan(plan, reporter)
    return sysroot


def check_empty(sysroot: Sysroot) -> None:
    """Raises Refused when a system can already boot from there; a cut install is no obstacle."""
    if read_menu(sysroot.entries, sysroot.entry_list).entries:
        raise Refused(f"{sysroot.root} already has a system", hint="look at it with: atoll status")


def with_loader(image: BootableImage) -> BootableImage:
    """``image`` with a boot loader: its own, or this machine's."""
    if image.loader:
        return image
    path = HOST_LOADERS / f"systemd-boot{image.efi_name}.efi"
    try:
        return replace(image, loader=read_regular(path, limit=OWN_LIMIT, follow=True))
    except FileNotFoundError:
        raise MissingProgram(
            f"neither the image nor this machine has systemd-boot ({path})",
            hint="add the package systemd-boot-efi to the recipe",
        ) from None


def measure_free(sysroot: Sysroot) -> Space:
    state, esp = os.statvfs(sysroot.root), os.statvfs(sysroot.esp)
    return Space(
        state=state.f_bavail * state.f_frsize,
        esp=esp.f_bavail * esp.f_frsize,
        inodes=state.f_favail if state.f_files else None,
    )


def find_uuid(path: Path) -> str:
    """The UUID of the file system that ``path`` is on; ``NO_UUID`` when it has none."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        said = file_system_uuid(handle)
    finally:
        os.close(handle)
    if said is not None:
        return said
    # Kernels before 6.9 do not say.
    found = run(["findmnt", "--noheadings", "--output", "UUID", "--target", path]).decode().strip()
    return found or NO_UUID
