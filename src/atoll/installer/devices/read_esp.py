"""Reading an EFI system partition from its device, without mounting it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, NotFound
from atoll.installer.devices.block_devices import EspContent
from atoll.machine.boot.boot_entries import ENTRIES
from atoll.machine.boot.boot_entry import parse_entry, parse_entry_name
from atoll.machine.boot.esp_check import read_volume
from atoll.machine.deployments.loader_operations import LOADER_SETTINGS, MENU_PATTERN
from atoll.tree.fat import files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atoll.machine.boot.boot_entry import EntryName
    from atoll.tree.fat import FatItem, Volume

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ENTRY_LIMIT = 64 << 10
_KERNEL = re.compile(r"atoll/(?:[0-9a-f]{64}/(?:linux|initrd)|machine/[0-9a-f]{64}\.img)")


def read_esp_content(partition: Path, size: int) -> EspContent:
    """Files and free space; ``flaw`` says why it cannot be used. Raises MissingPrivilege."""
    try:
        volume = read_volume(partition)
    except (Damaged, NotFound) as error:
        return EspContent(
            partition=partition, size=size, free=0, files=frozenset(), flaw=error.message
        )
    shared = [each for each in volume.findings if each.fault.forbids_unlink]
    used = sum(len(item.chain) for item in volume.items)
    entries = tuple(_entry_uuids(partition, volume))
    return EspContent(
        partition=partition,
        size=size,
        free=max(0, volume.geometry.clusters - used) * volume.geometry.cluster_size,
        files=frozenset(path.lower() for path, _ in files(volume)),
        entry_uuids=frozenset().union(*entries),
        kernels=_kernel_bytes(volume) if all(entries) else 0,
        foreign_menu=_has_foreign_menu(partition, volume),
        flaw=volume.describe(shared[0]) if shared else "",
    )


def _entry_uuids(partition: Path, volume: Volume) -> Iterator[frozenset[str]]:
    """Of each entry the UUIDs that it names."""
    for path, item in files(volume):
        folder, _, name = path.rpartition("/")
        entry_name = parse_entry_name(name)
        if folder.lower() != str(ENTRIES) or entry_name is None:
            continue
        if item.size > _ENTRY_LIMIT:
            yield frozenset()
            continue
        text = _content(partition, volume, item).decode(errors="replace")
        if not _is_draft(entry_name, text):
            yield frozenset(each.lower() for each in _UUID.findall(text))


def _kernel_bytes(volume: Volume) -> int:
    found = [item for path, item in files(volume) if _KERNEL.fullmatch(path.lower())]
    return sum(len(item.chain) for item in found) * volume.geometry.cluster_size


def _has_foreign_menu(partition: Path, volume: Volume) -> bool:
    """Whether loader.conf is another's. A power cut may have left an empty one of Atoll's."""
    for path, item in files(volume):
        if path.lower() == LOADER_SETTINGS and item.size <= _ENTRY_LIMIT:
            text = _content(partition, volume, item).rstrip(b"\0")
            return MENU_PATTERN not in text and bool(text)
        if path.lower() == LOADER_SETTINGS:
            return True
    return False


def _is_draft(name: EntryName, text: str) -> bool:
    """Whether no loader starts it. A damaged entry may be one that boots."""
    try:
        return parse_entry(name, text) is None
    except Damaged:
        return False


def _content(partition: Path, volume: Volume, item: FatItem) -> bytes:
    geometry = volume.geometry
    handle = os.open(partition, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces = [
            os.pread(handle, geometry.cluster_size, geometry.offset_of(cluster))
            for cluster in item.chain
        ]
    finally:
        os.close(handle)
    return b"".join(pieces)[: item.size]
