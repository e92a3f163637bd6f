"""The boot entries on the ESP: Atoll's own, drafts that a power cut left, and foreign ones.

Users who may not read the ESP get the list of entries in ``atoll/state/entries.json``::

    [{"entry": "atoll-7+2-1.conf", "deployment": 4}, …]
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atoll.base.errors import Damaged
from atoll.base.json import parse_json
from atoll.host.fs import list_names, read_if_there, read_regular
from atoll.machine.boot.boot_entry import (
    BootEntry,
    EntryName,
    format_entry_name,
    loader_order,
    parse_entry,
    parse_entry_name,
)
from atoll.machine.boot.machine_initrd import find_initrd_name
from atoll.machine.deployment import is_number

if TYPE_CHECKING:
    from pathlib import Path

ENTRIES = "loader/entries"
OLD_SYSTEM = "atoll-old-system.conf"
"""The entry that starts the loader of a system that Atoll was installed beside. The loader prefers
entries with tries left, and takes those of Atoll first: it starts this one by itself when every new
deployment has failed. The name fits ``default atoll-*``."""
ENTRY_LIMIT = 1 << 16
"""Bytes: no boot entry is larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuEntry:
    """An entry on the ESP: its name, and the deployment that it boots.

    ``entry`` is its content, None when only its name is known (from ``entries.json``).
    """

    name: EntryName
    deployment: int
    entry: BootEntry | None = None

    @property
    def file(self) -> str:
        """The name of its file."""
        return format_entry_name(self.name)

    @property
    def pair(self) -> str | None:
        """The directory of its kernel and initrd."""
        words = self.entry.linux.split("/") if self.entry else []
        return words[2] if len(words) == 4 and words[1] == "atoll" else None

    @property
    def machine_initrd(self) -> str | None:
        """The file of the machine's own initrd, if the entry has one."""
        return find_initrd_name(self.entry.machine_initrd) if self.entry else None


@dataclass(frozen=True, slots=True, kw_only=True)
class BootMenu:
    """``entries`` are in the loader's order.

    ``drafts`` are names of entries that were never committed; ``damaged`` says what is wrong with
    entries that have Atoll's names; ``foreign`` are the names of all others.
    """

    entries: tuple[MenuEntry, ...] = ()
    drafts: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    last_sequence: int = 0

    @property
    def default(self) -> int | None:
        """The deployment of the entry that the loader starts by itself."""
        return self.entries[0].deployment if self.entries else None

    def entries_of(self, deployment: int) -> tuple[MenuEntry, ...]:
        return tuple(each for each in self.entries if each.deployment == deployment)


def read_menu(entries: Path, entry_list: Path) -> BootMenu:
    """Read the boot entries in the directory ``entries`` of the ESP.

    A user who may not read the ESP gets what the file ``entry_list`` (``entries.json``) lists.
    Raises Damaged when that file is damaged.
    """
    try:
        names = list_names(entries)
    except PermissionError:
        return _read_entry_list(entry_list)
    except OSError as error:
        return BootMenu(damaged=(f"the boot entries cannot be read: {entries}: {error.strerror}",))
    found, drafts, damaged, foreign, last = [], [], [], [], 0
    for text in names:
        name = parse_entry_name(text)
        if text == OLD_SYSTEM:
            continue
        if name is None:
            foreign.append(text)
            continue
        last = max(last, name.sequence)
        try:
            data = read_regular(entries / text, limit=ENTRY_LIMIT)
            entry = parse_entry(name, data.decode(errors="replace"))
        except (Damaged, OSError) as error:
            damaged.append(str(error))
            continue
        if entry is None:
            drafts.append(text)
        elif entry.deployment is None:
            damaged.append(f"boot entry {text} names no deployment")
        else:
            found.append(MenuEntry(name=name, deployment=entry.deployment, entry=entry))
    return BootMenu(
        entries=in_loader_order(found),
        drafts=tuple(drafts),
        damaged=tuple(damaged),
        foreign=tuple(foreign),
        last_sequence=last,
    )


def format_entry_list(entries: tuple[MenuEntry, ...]) -> bytes:
    """``entries.json``: read where the ESP is not, by ``status`` of ordinary users and by early
    boot.

    Early boot has no JSON parser. Its shell (``read_fallback`` in ``formats.sh``) reads exactly
    this layout line by line and refuses any other: one key per line, ``entry`` before
    ``deployment``, indented by one space per level. The early boot of older images reads it too, so
    the layout must never change; docs/reference/contracts.md and a golden file define it.
    """
    document = [
        {"entry": format_entry_name(entry.name), "deployment": entry.deployment}
        for entry in entries
    ]
    return json.dumps(document, indent=1).encode() + b"\n"


def parse_entry_list(data: bytes) -> tuple[MenuEntry, ...]:
    """Raises Damaged, also when only one entry cannot be read: a list without it would be wrong."""
    try:
        entry_list: Any = parse_json(data, where="entries.json")
        return tuple(_parse_list_entry(entry["entry"], entry["deployment"]) for entry in entry_list)
    except (KeyError, TypeError, Damaged) as error:
        raise Damaged(
            "the list of boot entries (entries.json) is damaged",
            hint="as root the entries themselves are read: try again with sudo",
        ) from error


def _parse_list_entry(text: str, deployment: int) -> MenuEntry:
    name = parse_entry_name(text)
    if name is None or type(deployment) is not int or not is_number(str(deployment)):
        raise Damaged(f"entries.json has an entry {text!r} of deployment {deployment!r}")
    return MenuEntry(name=name, deployment=deployment)


def _read_entry_list(entry_list: Path) -> BootMenu:
    data = read_if_there(entry_list)
    if data is None:
        return BootMenu()
    entries = parse_entry_list(data)
    last = max((each.name.sequence for each in entries), default=0)
    return BootMenu(entries=in_loader_order(list(entries)), last_sequence=last)


def in_loader_order(entries: list[MenuEntry]) -> tuple[MenuEntry, ...]:
    """The entries in the order in which the loader tries them."""
    names = loader_order([each.name for each in entries])
    rank = {name: number for number, name in enumerate(names)}
    return tuple(sorted(entries, key=lambda each: rank[each.name]))
