"""Operations on the boot loader of the ESP: installed on a new machine, updated by an upgrade."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.host.fs import fsync_directory, open_regular
from atoll.host.syscalls import exchange_names
from atoll.machine.boot.esp import has_content, write_checked
from atoll.machine.boot.esp_check import remove_checked
from atoll.machine.boot.loader_files import (
    FALLBACK,
    OWN,
    fallback_files,
    find_outdated,
    may_take_fallback,
    own_files,
)

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.image.bootable import BootLoader
    from atoll.machine.boot.loader_files import LoaderFile
    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.sysroot import Sysroot

LOADER_SETTINGS = "loader/loader.conf"
MENU_PATTERN = b"\ndefault atoll-*\n"
"""What a boot menu of Atoll has in its settings."""
NEW = "atoll.new"
"""A file beside the one that it will replace, and after that the old one until it is removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallLoader:
    """``loader.conf`` is written once, and the loader of another system that firmware starts from
    the removable-media path stays: the ESP may be shared."""

    esp: Path
    loader: BootLoader
    timeout: int = 3

    def describe(self) -> str:
        return f"install systemd-boot on {self.esp}"

    def execute(self) -> None:
        files = own_files(self.loader)
        if may_take_fallback(self.esp, self.loader):
            files += fallback_files(self.loader)
        for file in files:
            write_checked(self.esp / file.path, file.content)
        configuration = self.esp / LOADER_SETTINGS
        text = f"timeout {self.timeout}".encode() + MENU_PATTERN + b"editor no\n"
        there = _read_start(configuration, len(text))
        if there != text and text.startswith(there.rstrip(b"\0")):
            write_checked(configuration, text)


def _read_start(path: Path, size: int) -> bytes:
    """Up to ``size`` bytes of a file and one more; empty when it is absent."""
    try:
        with open_regular(path) as file:
            return file.read(size + 1)
    except FileNotFoundError:
        return b""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateLoader:
    """Replace files of the boot loader, one after the other, by newer ones.

    A new file is complete and read back before the two names are exchanged. No cluster is freed
    meanwhile, so a power cut leaves the old file or the new one under the name that counts; FAT's
    rename onto a file that exists has moments with neither. The kernel writes the two names one
    after the other: a cut between them leaves both on the same clusters, which boots, and which
    ``esp_check`` knows.
    """

    esp: Path
    files: tuple[LoaderFile, ...]

    def describe(self) -> str:
        return f"update the boot loader on {self.esp}"

    def execute(self) -> None:
        for file in self.files:
            _replace(self.esp, self.esp / file.path, file.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveOldLoader:
    """Remove what a power cut in ``UpdateLoader`` left, and what it replaced."""

    esp: Path

    def describe(self) -> str:
        return f"remove the replaced boot loader from {self.esp}"

    def execute(self) -> None:
        for folder in (OWN, FALLBACK):
            _remove(self.esp, self.esp / folder / NEW)


def plan_loader_update(sysroot: Sysroot, loader: BootLoader) -> tuple[Operation, ...]:
    """Nothing where the loader is that of the image already, may not be replaced by it, or cannot
    be read: that does not stop an upgrade."""
    esp = sysroot.loader_esp
    plan: list[Operation] = []
    with suppress(OSError):
        if any((esp / folder / NEW).exists() for folder in (OWN, FALLBACK)):
            plan.append(RemoveOldLoader(esp=esp))
        outdated = find_outdated(esp, loader)
        if outdated:
            plan.append(UpdateLoader(esp=esp, files=outdated))
    return tuple(plan)


def _replace(esp: Path, path: Path, content: bytes) -> None:
    """Raises Damaged, NoSpace, or Refused where the ESP has to be repaired first."""
    new = path.with_name(NEW)
    _remove(esp, new)
    write_checked(new, content)
    if path.exists():
        exchange_names(new, path)
    else:
        new.rename(path)
    for each in (path, new):
        # FAT has a file's first cluster in its directory: written with the file's own metadata.
        _flush(each)
    fsync_directory(path.parent)
    if not has_content(path, content):
        hint = "the disk may be failing; see: journalctl -k"
        raise Damaged(f"{path} does not read back as it was written", hint=hint)
    _remove(esp, new)


def _flush(path: Path) -> None:
    if path.exists():
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove(esp: Path, path: Path) -> None:
    if path.exists():
        remove_checked(esp, path)
