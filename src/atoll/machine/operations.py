"""The operations that plans are made of: each says what it does and does it, once or again.

A plan may be cut after any of them and be run again from its start.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from atoll.host.files import fsync_directory, remove_tree, replace_file, space_errors
from atoll.host.kernel import syncfs
from atoll.machine.bootentry import format_entry_name
from atoll.machine.deployment import Deployment, Origin, format_deployment, format_origin
from atoll.machine.esp import commit_draft, ensure_directory, write_checked, write_draft
from atoll.machine.state import format_noted, read_entries

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from atoll.base.ids import ObjectId, TreeId
    from atoll.machine.bootentry import BootEntry
    from atoll.machine.state import Placed, Sysroot


class Operation(Protocol):
    def describe(self) -> str: ...

    def execute(self) -> None: ...


class Contents(Protocol):
    """A way for objects and images to get into the store of a machine."""

    def place_objects(self, names: Iterable[ObjectId]) -> None:
        """Put them there, each compared with its name; what is there already stays."""

    def place_image(self, tree: TreeId) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceTree:
    """Objects first, the image last, so that an image that is there has all its objects."""

    tree: TreeId
    objects: tuple[ObjectId, ...]
    contents: Contents

    def describe(self) -> str:
        return f"{len(self.objects)} objects of tree {self.tree[:12]}…"

    def execute(self) -> None:
        self.contents.place_objects(self.objects)
        self.contents.place_image(self.tree)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncStatePartition:
    path: Path

    def describe(self) -> str:
        return f"all of it durable on {self.path}"

    def execute(self) -> None:
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syncfs(handle)
        finally:
            os.close(handle)


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeDeployment:
    """Written under another name first: a deployment that has its number is complete."""

    sysroot: Sysroot
    deployment: Deployment
    origin: Origin
    recipe: bytes
    lock: bytes

    def describe(self) -> str:
        return f"deployment {self.deployment.title}"

    def execute(self) -> None:
        final = self.sysroot.deployments / str(self.deployment.number)
        staged = self.sysroot.deployments / f"new-{self.deployment.number}"
        with space_errors(self.sysroot.root):
            for path in (self.sysroot.state, self.sysroot.atoll / "var", self.sysroot.deployments):
                path.mkdir(parents=True, exist_ok=True)
            remove_tree(staged)
            remove_tree(final)
            (staged / "etc" / "upper").mkdir(parents=True)
            (staged / "etc" / "work").mkdir()
            replace_file(staged / "origin.toml", format_origin(self.origin))
            replace_file(staged / "atoll.toml", self.recipe)
            if self.lock:
                replace_file(staged / "atoll.lock", self.lock)
            replace_file(staged / "deployment.json", format_deployment(self.deployment))
            staged.rename(final)
            fsync_directory(self.sysroot.deployments)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallLoader:
    """``loader.conf`` is written once: nothing on the ESP is overwritten later."""

    esp: Path
    efi_name: str
    program: bytes

    def describe(self) -> str:
        return f"systemd-boot on {self.esp}"

    def execute(self) -> None:
        write_checked(self.esp / f"EFI/systemd/systemd-boot{self.efi_name}.efi", self.program)
        write_checked(self.esp / f"EFI/BOOT/BOOT{self.efi_name.upper()}.EFI", self.program)
        configuration = self.esp / "loader/loader.conf"
        if not configuration.exists():
            write_checked(configuration, b"timeout 3\ndefault atoll-*\neditor no\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteKernelPair:
    directory: Path
    linux: bytes
    initrd: bytes

    def describe(self) -> str:
        return f"kernel and initrd in {self.directory}"

    def execute(self) -> None:
        write_checked(self.directory / "linux", self.linux)
        write_checked(self.directory / "initrd", self.initrd)


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftEntry:
    """The entry has its name and its space; the loader skips it."""

    directory: Path
    entry: BootEntry

    def describe(self) -> str:
        return f"space for boot entry {format_entry_name(self.entry.name)}"

    def execute(self) -> None:
        ensure_directory(self.directory)
        write_draft(self.directory / format_entry_name(self.entry.name), self.entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitEntry:
    """From here on the new system is what boots."""

    directory: Path
    entry: BootEntry

    def describe(self) -> str:
        return f"boot entry {format_entry_name(self.entry.name)}: {self.entry.title}"

    def execute(self) -> None:
        commit_draft(self.directory / format_entry_name(self.entry.name), self.entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteEntries:
    """For ``status`` of people who may not read the ESP; nothing else relies on it."""

    sysroot: Sysroot

    def describe(self) -> str:
        return "what the boot entries are, noted for everyone"

    def execute(self) -> None:
        entries: tuple[Placed, ...] = read_entries(self.sysroot)
        replace_file(self.sysroot.state / "entries.json", format_noted(entries))
