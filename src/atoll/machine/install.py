"""The first deployment of a machine: an image of a store becomes a sysroot with its ESP.

The order makes a cut harmless (docs/decisions/0004): space first, then contents, then the
deployment, then kernel and initrd, and the boot entry as the last operation that decides anything.
The first deployment counts as blessed, for there is nothing to fall back to.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import MissingProgram, NoSpace, Refused
from atoll.host.run import run
from atoll.machine.bootentry import BootEntry, EntryName
from atoll.machine.contents import place_into
from atoll.machine.deployment import Deployment, Origin
from atoll.machine.operations import (
    CommitEntry,
    DraftEntry,
    InstallLoader,
    MakeDeployment,
    NoteEntries,
    Operation,
    PlaceTree,
    SyncStatePartition,
    WriteKernelPair,
)
from atoll.machine.state import Sysroot, read_entries
from atoll.store.layout import open_store
from atoll.store.objects import can_seal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atoll.base.ids import ObjectId
    from atoll.base.report import Reporter
    from atoll.machine.image import BootableImage
    from atoll.machine.operations import Contents
    from atoll.store.layout import Store

HOST_LOADERS = Path("/usr/lib/systemd/boot/efi")
PANIC_SECONDS = 10
BLOCK = 4096
FIRST = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StatePartition:
    """The file system that early boot finds a machine's deployments on."""

    uuid: str
    verity: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Bytes that are free, or that are needed, on both partitions."""

    state: int
    esp: int


def boot_options(deployment: Deployment, state: StatePartition,
                 arguments: tuple[str, ...]) -> tuple[str, ...]:  # fmt: skip
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


def needed_space(image: BootableImage, missing: Iterable[ObjectId]) -> Space:
    """Whole blocks, verity blocks and a block for each inode's directory entry included."""
    contents = [image.objects[name] for name in missing] + [image.image_size]
    state = sum(stored_size(size) + 512 for size in contents) + 64 * BLOCK
    files = (len(image.linux), len(image.initrd), len(image.loader), len(image.loader))
    return Space(state=state, esp=sum(files) + 64 * BLOCK)


def stored_size(size: int) -> int:
    """What content of ``size`` bytes takes on a disk with verity: its blocks and its tree's."""
    blocks = -(-size // BLOCK)
    total, level = blocks + 1, blocks
    while level > 1:
        level = -(-level // 128)
        total += level
    return total * BLOCK


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
    image: BootableImage, origin: Origin, *, sysroot: Sysroot, state: StatePartition,
    contents: Contents,
) -> tuple[Operation, ...]:  # fmt: skip
    """All that makes ``image`` the first deployment of ``sysroot``, in its order."""
    deployment = Deployment(number=FIRST, tree=image.tree, name=image.name, version=image.version,
                            kernel=image.kernel, pair=image.pair)  # fmt: skip
    entry = BootEntry(
        name=EntryName(sequence=FIRST),
        title=deployment.title,
        linux=f"/atoll/{image.pair}/linux",
        initrd=f"/atoll/{image.pair}/initrd",
        options=boot_options(deployment, state, image.arguments),
    )
    return (
        PlaceTree(tree=image.tree, objects=tuple(sorted(image.objects)), contents=contents),
        SyncStatePartition(path=sysroot.root),
        MakeDeployment(sysroot=sysroot, deployment=deployment, origin=origin,
                       recipe=image.recipe, lock=image.lock),
        SyncStatePartition(path=sysroot.root),
        InstallLoader(esp=sysroot.esp, efi_name=image.efi_name, program=image.loader),
        WriteKernelPair(directory=sysroot.esp / "atoll" / image.pair,
                        linux=image.linux, initrd=image.initrd),
        DraftEntry(directory=sysroot.entries, entry=entry),
        CommitEntry(directory=sysroot.entries, entry=entry),
        NoteEntries(sysroot=sysroot),
    )  # fmt: skip


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
    root.mkdir(parents=True, exist_ok=True)
    sysroot.esp.mkdir(exist_ok=True)
    target = open_store(sysroot.atoll, create=True)
    missing = [name for name in image.objects if not target.object_path(name).exists()]
    check_space(needed_space(image, missing), measure_free(sysroot), sysroot)
    state = StatePartition(uuid=find_uuid(root), verity=can_seal(target.staging))
    contents = place_into(target, source)
    plan = plan_install(image, origin, sysroot=sysroot, state=state, contents=contents)
    apply_plan(plan, reporter)
    return sysroot


def check_empty(sysroot: Sysroot) -> None:
    """Raises Refused when a system can already boot from there; a cut install is no obstacle."""
    if read_entries(sysroot):
        raise Refused(f"{sysroot.root} has a system already", hint="look at it with: atoll status")


def with_loader(image: BootableImage) -> BootableImage:
    """``image`` with a boot loader: its own, or this machine's."""
    if image.loader:
        return image
    path = HOST_LOADERS / f"systemd-boot{image.efi_name}.efi"
    try:
        return replace(image, loader=path.read_bytes())
    except FileNotFoundError:
        raise MissingProgram(
            f"neither the image nor this machine has systemd-boot ({path})",
            hint="add the package systemd-boot-efi to the recipe",
        ) from None


def measure_free(sysroot: Sysroot) -> Space:
    def free(path: Path) -> int:
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize

    return Space(state=free(sysroot.root), esp=free(sysroot.esp))


def find_uuid(path: Path) -> str:
    """The UUID of the file system that ``path`` is on; raises Refused when it has none."""
    found = run(["findmnt", "--noheadings", "--output", "UUID", "--target", path]).decode().strip()
    if not found:
        raise Refused(f"the file system of {path} has no UUID, so a machine could not find it",
                      hint="choose a directory on a disk, or see: atoll disk")  # fmt: skip
    return found
