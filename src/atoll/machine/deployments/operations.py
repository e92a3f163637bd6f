"""The operations that plans consist of: each describes itself and can be executed again.

A power cut may stop a plan after any of them; the same plan can then run again from its start.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from atoll.base.errors import Damaged, NotFound, Refused
from atoll.host.fs import (
    displace_stray,
    fsync_directory,
    make_directory,
    remove_tree,
    replace_file,
    restrict_to_owner,
    space_errors,
)
from atoll.host.syscalls import syncfs
from atoll.machine.boot.boot_entries import ENTRIES, format_entry_list, read_menu
from atoll.machine.boot.boot_entry import format_entry_name
from atoll.machine.boot.esp import (
    commit_draft,
    copy_checked,
    ensure_directory,
    has_content,
    matches_object,
    write_checked,
    write_draft,
)
from atoll.machine.boot.esp_check import check_esp
from atoll.machine.boot.machine_initrd import initrd_name, initrd_place
from atoll.machine.deployment import (
    MACHINE_LOCK,
    MACHINE_TEXT,
    Deployment,
    MachineFiles,
    Origin,
    format_deployment,
    format_origin,
)
from atoll.machine.deployments.quick_check import PAIR

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from atoll.base.ids import ObjectId, TreeId
    from atoll.image.bootable import BootableImage
    from atoll.machine.boot.boot_entry import BootEntry
    from atoll.machine.boot.new_entry import StatePartition
    from atoll.machine.deployments.sysroot import Sysroot


class Operation(Protocol):
    def describe(self) -> str: ...

    def execute(self) -> None: ...


class ObjectTransfer(Protocol):
    """How objects and images get into the store of a machine: linked, copied, or staged."""

    def place_objects(self, names: Iterable[ObjectId]) -> None:
        """Add objects, each checked against its name; those that are there already stay."""

    def place_image(self, tree: TreeId) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportTree:
    """Objects first, the image last, so that an image that is there has all its objects."""

    tree: TreeId
    objects: tuple[ObjectId, ...]
    contents: ObjectTransfer

    def describe(self) -> str:
        return f"write tree {self.tree[:12]}… with {len(self.objects)} objects"

    def execute(self) -> None:
        self.contents.place_objects(self.objects)
        self.contents.place_image(self.tree)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncStatePartition:
    path: Path

    def describe(self) -> str:
        return f"sync the file system of {self.path}"

    def execute(self) -> None:
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syncfs(handle)
        finally:
            os.close(handle)


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeDeployment:
    """Write the deployment under a temporary name, then rename it: a deployment that has its number
    is complete."""

    sysroot: Sysroot
    deployment: Deployment
    origin: Origin
    recipe: bytes
    lock: bytes
    machine: MachineFiles | None = None

    def describe(self) -> str:
        return f"write deployment {self.deployment.title}"

    def execute(self) -> None:
        final = self.sysroot.deployments / str(self.deployment.number)
        staged = self.sysroot.deployments / f"new-{self.deployment.number}"
        with space_errors(self.sysroot.root):
            restrict_to_owner(self.sysroot.atoll)
            for path in (self.sysroot.state, self.sysroot.atoll / "var", self.sysroot.deployments):
                make_directory(path)
            remove_tree(staged)
            remove_tree(final)
            # The modes of upper and var are those of /etc and /var in the running system.
            for path in (staged, staged / "etc", staged / "etc" / "upper", staged / "etc" / "work"):
                make_directory(path)
            replace_file(staged / "origin.toml", format_origin(self.origin))
            replace_file(staged / "atoll.toml", self.recipe, mode=0o600)
            if self.lock:
                replace_file(staged / "atoll.lock", self.lock)
            if self.machine is not None:
                replace_file(staged / MACHINE_TEXT, self.machine.text, mode=0o600)
                replace_file(staged / MACHINE_LOCK, self.machine.lock)
            replace_file(staged / "deployment.json", format_deployment(self.deployment))
            staged.rename(final)
            fsync_directory(self.sysroot.deployments)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteKernelPair:
    """Write kernel and initrd. Intact files are not written again, because another deployment may
    boot them.

    A damaged file is written again: nothing could boot it anyway. ``fresh``: the ESP is new, so
    nothing needs to be compared.
    """

    directory: Path
    image: BootableImage
    fresh: bool = False

    def describe(self) -> str:
        return f"write kernel and initrd to {self.directory}"

    def execute(self) -> None:
        pair = self.image.kernel_pair
        displace_stray(self.directory, stat.S_IFDIR)
        for name, content in (("linux", pair.linux), ("initrd", pair.initrd)):
            path = self.directory / name
            displace_stray(path, stat.S_IFREG)
            if self.fresh or not matches_object(path, self.image.store, content):
                copy_checked(path, self.image.store, content)


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftEntry:
    """Write an entry that the boot loader skips: it allocates name and clusters, so the commit need
    not allocate anything."""

    directory: Path
    entry: BootEntry

    def describe(self) -> str:
        return f"write a draft of boot entry {format_entry_name(self.entry.name)}"

    def execute(self) -> None:
        ensure_directory(self.directory)
        write_draft(self.directory / format_entry_name(self.entry.name), self.entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitEntry:
    """Make the draft valid by writing its first sector: from here on the new system boots.

    A disk writes one sector completely or not at all, so a power cut leaves the old menu or the new
    one, although FAT has no atomic rename."""

    directory: Path
    entry: BootEntry

    def describe(self) -> str:
        return f"commit boot entry {format_entry_name(self.entry.name)}: {self.entry.title}"

    def execute(self) -> None:
        commit_draft(self.directory / format_entry_name(self.entry.name), self.entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteMachineInitrd:
    """Write the machine's own initrd, unless it is there and intact: other entries may name it."""

    esp: Path
    content: bytes

    def describe(self) -> str:
        return f"write the keyboard's layout for early boot to {self._place}"

    def execute(self) -> None:
        displace_stray(self._place.parent, stat.S_IFDIR)
        displace_stray(self._place, stat.S_IFREG)
        if not has_content(self._place, self.content):
            write_checked(self._place, self.content)

    @property
    def _place(self) -> Path:
        return initrd_place(self.esp, initrd_name(self.content))


def plan_machine_initrd(sysroot: Sysroot, state: StatePartition) -> tuple[Operation, ...]:
    if not state.initrd:
        return ()
    return (WriteMachineInitrd(esp=sysroot.esp, content=state.initrd),)


def plan_entry(sysroot: Sysroot, entry: BootEntry) -> tuple[Operation, ...]:
    """The operations that add an entry, whose sequence number was reserved before."""
    return (
        DraftEntry(directory=sysroot.entries, entry=entry),
        CommitEntry(directory=sysroot.entries, entry=entry),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveFromEsp:
    """Remove a file, or a directory of files, that Atoll wrote; each name durably before the next.

    Files whose clusters are not theirs alone stay until the ESP is repaired (``esp_check``), and so
    does a kernel that an entry still boots.
    """

    esp: Path
    path: Path

    def describe(self) -> str:
        return f"remove {self.path}"

    def execute(self) -> None:
        if not self.path.exists() or self._is_booted():
            return
        files = sorted(self.path.iterdir()) if self.path.is_dir() else []
        strange = [path.name for path in files if path.name not in PAIR or path.is_dir()]
        if strange:
            raise Refused(
                f"{self.path} is not removed: Atoll did not write {strange[0]} in it",
                hint="move it elsewhere, then try again",
            )
        if not _may_be_unlinked(self.esp, (self.path, *files)):
            return
        for path in files:
            path.unlink()
            fsync_directory(self.path)
        if self.path.is_dir():
            self.path.rmdir()
        else:
            self.path.unlink()
        fsync_directory(self.path.parent)

    def _is_booted(self) -> bool:
        menu = read_menu(self.esp / ENTRIES, self.path)
        return any(self.path.name in (each.pair, each.machine_initrd) for each in menu.entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveDeployment:
    """Rename the deployment, so that it loses its number at once, then remove it."""

    sysroot: Sysroot
    number: int

    def describe(self) -> str:
        return f"remove deployment {self.number}"

    def execute(self) -> None:
        menu = read_menu(self.sysroot.entries, self.sysroot.entry_list)
        if menu.entries_of(self.number):
            return  # an entry that could not be removed still boots it
        place = self.sysroot.deployments / str(self.number)
        gone = self.sysroot.deployments / f"gone-{self.number}"
        if place.exists() or place.is_symlink():
            remove_tree(gone)
            place.rename(gone)
            fsync_directory(self.sysroot.deployments)
        remove_tree(gone)


def _may_be_unlinked(esp: Path, paths: tuple[Path, ...]) -> bool:
    try:
        return check_esp(esp, paths).safe == frozenset(paths)
    except (Damaged, NotFound):
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovePath:
    """Remove a file or a directory tree, if it exists."""

    path: Path

    def describe(self) -> str:
        return f"remove {self.path}"

    def execute(self) -> None:
        remove_tree(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteEntryList:
    """Write ``entries.json``, for users who may not read the ESP and for early boot
    (``format_entry_list``)."""

    sysroot: Sysroot

    def describe(self) -> str:
        return f"write the list of boot entries to {self.sysroot.entry_list}"

    def execute(self) -> None:
        menu = read_menu(self.sysroot.entries, self.sysroot.entry_list)
        replace_file(self.sysroot.entry_list, format_entry_list(menu.entries))
