"""Entries of the boot menu as text: Boot Loader Specification, type 1, as systemd-boot reads it.

The name of an entry's file carries its sequence number, which is never reused, and its counter::

    atoll-7.conf        blessed, or not counted
    atoll-7+3.conf      three tries left
    atoll-7+1-2.conf    one try left, two used; the loader renames it at every try

The file begins with the line that makes it valid, so that one sector commits it::

    linux /atoll/<digest of kernel and initrd>/linux
    initrd /atoll/<digest of kernel and initrd>/initrd
    sort-key atoll
    version 7
    title hello 1.2 (7)
    options composefs=<tree digest> atoll.state=UUID=… atoll.deployment=4 panic=10 quiet

On a machine that needs an initrd of its own (``machine_initrd``), a line that names it stands
before the other ``initrd`` line: the kernel unpacks them in this order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from atoll.base.errors import Damaged, Refused
from atoll.machine.deployment import is_number
from atoll.tree.cmdline import find_reserved, split_arguments, value_of

SORT_KEY = "atoll"
SECTOR = 512
_NAME = re.compile(r"atoll-([1-9][0-9]{0,8})(?:\+([0-9]{1,4})(?:-([0-9]{1,4}))?)?\.conf")
_ONCE = ("composefs", "atoll.state", "atoll.deployment", "atoll.live", "atoll.persistence")
"""Arguments that decide what boots: each occurs once, and in no other argument."""
_FIELDS = ("linux", "initrd", "sort-key", "version", "title", "options")
_MOST_INITRDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryName:
    """``tries_left`` is None for an entry that is not counted."""

    sequence: int
    tries_left: int | None = None
    tries_used: int = 0

    @property
    def is_bad(self) -> bool:
        return self.tries_left == 0


def entry_title(title: str, version: str, deployment: int | str) -> str:
    """What the menu calls a deployment; ``title`` is the image's own, or its name."""
    return f"{title} {version} ({deployment})"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootEntry:
    """``linux`` and ``initrd`` are paths from the root of the ESP, and so is ``machine_initrd``,
    which is empty where there is none."""

    name: EntryName
    title: str
    linux: str
    initrd: str
    options: tuple[str, ...]
    machine_initrd: str = ""

    def option(self, key: str) -> str | None:
        """The value of the first ``key=value`` among the options: Atoll's own come first."""
        return value_of(self.options, key)

    @property
    def deployment(self) -> int | None:
        number = self.option("atoll.deployment")
        return int(number) if number is not None and is_number(number) else None


def parse_entry_name(text: str) -> EntryName | None:
    """What a file name says; None when it is not the name of an entry of Atoll's."""
    found = _NAME.fullmatch(text)
    if found is None:
        return None
    sequence, left, used = found.groups()
    return EntryName(
        sequence=int(sequence),
        tries_left=None if left is None else int(left),
        tries_used=int(used or 0),
    )


def format_entry_name(name: EntryName) -> str:
    counter = "" if name.tries_left is None else f"+{name.tries_left}"
    used = f"-{name.tries_used}" if counter and name.tries_used else ""
    return f"atoll-{name.sequence}{counter}{used}.conf"


def format_entry(entry: BootEntry) -> bytes:
    """The file of an entry. Raises Refused for what cannot be one line of text, or would name
    something else to boot to a program that reads it otherwise."""
    own_initrd = (("initrd", entry.machine_initrd),) if entry.machine_initrd else ()
    lines = (
        ("linux", entry.linux),
        *own_initrd,
        ("initrd", entry.initrd),
        ("sort-key", SORT_KEY),
        ("version", str(entry.name.sequence)),
        ("title", entry.title),
        ("options", " ".join(entry.options)),
    )
    for _, value in lines:
        if not value or not value.isprintable():
            raise Refused(f"{value[:80]!r} is not allowed in a boot entry")
    own = [word for word in entry.options if word.partition("=")[0] in _ONCE]
    for word in set(entry.options) - set(own):
        if find_reserved(word) in _ONCE:
            raise Refused(f"the kernel argument {word[:80]!r} is reserved: Atoll sets it")
    if len({word.partition("=")[0] for word in own}) != len(own):
        raise Refused("a boot entry must name tree, state partition and deployment once each")
    return "".join(f"{key} {value}\n" for key, value in lines).encode()


def format_draft(entry: BootEntry) -> bytes:
    """The same file with its ``linux`` line as a comment: the loader skips such an entry.

    It differs from the entry in its first byte only, so one written sector makes it valid.
    """
    return b"#" + format_entry(entry)[1:]


def parse_entry(name: EntryName, text: str) -> BootEntry | None:
    """An entry of Atoll's; None for a draft. Raises Damaged for what Atoll never writes."""
    fields: dict[str, str] = {}
    initrds: list[str] = []
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key and not key.startswith("#"):
            fields[key] = value.strip()
            if key == "initrd":
                initrds.append(value.strip())
    if "linux" not in fields:
        return None
    garbled = [key for key in _FIELDS if not fields.get(key, "").isprintable()]
    if garbled:
        raise Damaged(
            f"boot entry {format_entry_name(name)} has unprintable characters in {garbled[0]}",
            hint="see: bootctl list",
        )
    missing = [key for key in _FIELDS if not fields.get(key)]
    own_initrd = "".join(initrds[:-1])
    if missing or fields["version"] != str(name.sequence) or len(initrds) > _MOST_INITRDS:
        what = f"has no {' and no '.join(missing)}" if missing else "has another version"
        if len(initrds) > _MOST_INITRDS:
            what = f"has {len(initrds)} initrds"
        raise Damaged(f"boot entry {format_entry_name(name)} {what}", hint="see: bootctl list")
    return BootEntry(
        name=name,
        title=fields["title"],
        linux=fields["linux"],
        initrd=fields["initrd"],
        options=split_arguments(fields["options"]),
        machine_initrd=own_initrd,
    )


def loader_order(names: list[EntryName]) -> list[EntryName]:
    """As systemd-boot sorts entries of a sort-key: newest first, those without tries left last."""
    return sorted(names, key=lambda name: (name.is_bad, -name.sequence))
