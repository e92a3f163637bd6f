"""What a new system takes over from the one that it is installed beside. Pure.

Each item of ``ITEMS`` can be left out. What the image cannot take (a locale that it does not have,
a group, a kind of network) stays behind, and the plan says so. What would give files of people to
somebody else is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from atoll.installer.beside.accounts import (
    can_log_in,
    carry_accounts,
    carry_root_password,
    people_of,
)
from atoll.installer.beside.network import NetworkPrograms, carry_network
from atoll.installer.settings.etc_settings import with_hostname, with_keyboard, with_timezone
from atoll.machine.etc.etc_tree import Entry, Kind, Node, children_of, is_file, node_at, replaced
from atoll.machine.etc.etc_tree import with_content as content_of
from atoll.machine.keyboard import PLACE as KEYBOARD
from atoll.machine.keyboard import parse_keyboard

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from atoll.installer.settings.image_contents import ImageContents

ZONES = "/usr/share/zoneinfo/"


class Item(StrEnum):
    """What ``--without`` may name."""

    USERS = "users"
    ROOT = "root"
    HOME = "home"
    HOSTNAME = "hostname"
    MACHINE_ID = "machine-id"
    SSH_KEYS = "ssh-keys"
    NETWORK = "network"
    TIMEZONE = "timezone"
    LOCALE = "locale"
    KEYBOARD = "keyboard"


ITEMS = tuple(Item)
_WORDS = {
    Item.USERS: "users with their passwords",
    Item.ROOT: "root's password and ssh keys",
    Item.HOME: "home directories",
    Item.HOSTNAME: "host name",
    Item.MACHINE_ID: "machine id",
    Item.SSH_KEYS: "host keys of ssh",
    Item.NETWORK: "network",
    Item.TIMEZONE: "time zone",
    Item.LOCALE: "locale",
    Item.KEYBOARD: "keyboard",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedItem:
    """``detail`` says in words what comes along; it never has a secret."""

    item: Item
    detail: str

    @property
    def title(self) -> str:
        return _WORDS[self.item]


@dataclass(frozen=True, slots=True, kw_only=True)
class OldSettings:
    """``etc`` of the older system; ``root_keys`` is root's ``authorized_keys``."""

    etc: Node
    root_keys: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OldAndNew:
    """The settings of the older system, and the image that gets them."""

    old: OldSettings
    image: ImageContents


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """``tree`` is the image's ``/etc`` and ``etc`` that of the new system. ``conflicts`` are ids of
    people that the image has given to others."""

    tree: Node = field(repr=False)
    etc: Node = field(repr=False)
    items: tuple[CarriedItem, ...] = ()
    notes: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    machine_id: str | None = None
    root_keys: bytes = field(default=b"", repr=False)
    people: tuple[tuple[str, int, int], ...] = ()
    """Name, user id and group id of each, for home directories that have to be made."""


def carry_settings(
    old: OldSettings, tree: Node, image: ImageContents, without: Collection[Item] = ()
) -> Carried:
    """All but the home directories, of which only the plan knows where they are."""
    carried, both = Carried(tree=tree, etc=tree), OldAndNew(old=old, image=image)
    for item, step in _STEPS.items():
        if item not in without:
            carried = step(carried, both)
    return replace(carried, notes=(*carried.notes, *_sudo_notes(old, without)))


def _users(carried: Carried, both: OldAndNew) -> Carried:
    found = carry_accounts(both.old.etc, carried.etc, both.image.has)
    if found.conflicts or not found.people:
        return replace(carried, conflicts=found.conflicts)
    made = {each[0]: each for each in people_of(found.etc)}
    people = tuple((name, int(made[name][2]), int(made[name][3])) for name in found.people)
    listed = ", ".join(f"{name} ({uid})" for name, uid, _ in people)
    return replace(
        _with(carried, Item.USERS, listed, etc=found.etc, notes=found.notes), people=people
    )


def _root(carried: Carried, both: OldAndNew) -> Carried:
    etc = carry_root_password(both.old.etc, carried.etc)
    password = "a password" if can_log_in(both.old.etc) else "no password"
    keys = sum(1 for line in both.old.root_keys.splitlines() if line and not line.startswith(b"#"))
    detail = f"{password}, {keys} ssh key{'' if keys == 1 else 's'}"
    return replace(_with(carried, Item.ROOT, detail, etc=etc), root_keys=both.old.root_keys)


def _hostname(carried: Carried, both: OldAndNew) -> Carried:
    name = _line(both.old.etc, "hostname")
    if not name:
        return carried
    return _with(carried, Item.HOSTNAME, name, etc=with_hostname(carried.etc, name))


def _machine_id(carried: Carried, both: OldAndNew) -> Carried:
    text = _line(both.old.etc, "machine-id")
    if len(text) != 32 or text.strip("0123456789abcdef"):
        return carried
    return replace(_with(carried, Item.MACHINE_ID, text, etc=carried.etc), machine_id=text)


def _ssh_keys(carried: Carried, both: OldAndNew) -> Carried:
    names = children_of(node_at(both.old.etc, "ssh"))
    found = {
        name: node
        for name, node in names.items()
        if name.startswith("ssh_host_") and name.endswith(("_key", "_key.pub")) and is_file(node)
    }
    if not found:
        return carried
    if not both.image.has("usr/sbin/sshd"):
        return _noted(carried, "host keys of ssh: the image has no ssh server")
    etc = carried.etc
    for name, node in found.items():
        etc = replaced(etc, f"ssh/{name}", node, parents=both.old.etc)
    kinds = sorted(
        name.removeprefix("ssh_host_").removesuffix("_key")
        for name in found
        if name.endswith("_key")
    )
    return _with(carried, Item.SSH_KEYS, ", ".join(kinds), etc=etc)


def _network(carried: Carried, both: OldAndNew) -> Carried:
    programs = NetworkPrograms(
        manager=both.image.has_network_manager, networkd=both.image.has_networkd
    )
    found = carry_network(both.old.etc, carried.etc, programs)
    for line in found.left:
        carried = _noted(carried, f"network: {line}")
    detail = ", ".join(found.carried)
    return _with(carried, Item.NETWORK, detail, etc=found.etc) if detail else carried


def _timezone(carried: Carried, both: OldAndNew) -> Carried:
    node = node_at(both.old.etc, "localtime")
    name = ""
    if node is not None and node.entry.kind is Kind.SYMLINK:
        name = node.entry.content.rpartition(ZONES.lstrip("/"))[2]
    name = name or _line(both.old.etc, "timezone")
    if not name:
        return carried
    if name not in both.image.timezones:
        return _noted(carried, f"time zone: the image has no {name}")
    return _with(carried, Item.TIMEZONE, name, etc=with_timezone(carried.etc, name))


def _locale(carried: Carried, both: OldAndNew) -> Carried:
    text = _text(both.old.etc, "locale.conf") or _text(both.old.etc, "default/locale")
    words = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    name = next((value.strip("\"' ") for key, _, value in words if key.strip() == "LANG"), "")
    if not name:
        return carried
    if not both.image.has_locale(name):
        return _noted(carried, f"locale: the image has no {name}")
    etc = replaced(carried.etc, "locale.conf", _file(f"LANG={name}\n"))
    link = Entry(kind=Kind.SYMLINK, mode=0o777, content="../locale.conf")
    return _with(carried, Item.LOCALE, name, etc=replaced(etc, "default/locale", Node(link)))


def _keyboard(carried: Carried, both: OldAndNew) -> Carried:
    layout = parse_keyboard(_text(both.old.etc, KEYBOARD))
    if layout is None:
        return carried
    lacking = [each for each in layout.layout.split(",") if each not in both.image.layouts]
    if lacking:
        return _noted(carried, f"keyboard: the image has no layout {lacking[0]}")
    detail = f"{layout.layout} {layout.variant}".strip()
    return _with(carried, Item.KEYBOARD, detail, etc=with_keyboard(carried.etc, layout))


_STEPS: dict[Item, Callable[[Carried, OldAndNew], Carried]] = {
    Item.USERS: _users,
    Item.ROOT: _root,
    Item.HOSTNAME: _hostname,
    Item.MACHINE_ID: _machine_id,
    Item.SSH_KEYS: _ssh_keys,
    Item.NETWORK: _network,
    Item.TIMEZONE: _timezone,
    Item.LOCALE: _locale,
    Item.KEYBOARD: _keyboard,
}


def _sudo_notes(old: OldSettings, without: Collection[Item]) -> Iterator[str]:
    rules = [name for name in children_of(node_at(old.etc, "sudoers.d")) if name != "README"]
    if rules and Item.USERS not in without:
        yield f"rules of sudo: /etc/sudoers.d/{', '.join(sorted(rules))}"


def _with(
    carried: Carried, item: Item, detail: str, *, etc: Node, notes: tuple[str, ...] = ()
) -> Carried:
    return replace(
        carried,
        etc=etc,
        items=(*carried.items, CarriedItem(item=item, detail=detail)),
        notes=(*carried.notes, *notes),
    )


def _noted(carried: Carried, note: str) -> Carried:
    return replace(carried, notes=(*carried.notes, note))


def _text(etc: Node, path: str) -> str:
    node = node_at(etc, path)
    return node.entry.read().decode(errors="replace") if node is not None and is_file(node) else ""


def _line(etc: Node, path: str) -> str:
    """The first line that is no comment."""
    lines = (line.strip() for line in _text(etc, path).splitlines())
    return next((line for line in lines if line and not line.startswith("#")), "")


def _file(text: str) -> Node:
    return Node(content_of(Entry(kind=Kind.FILE, mode=0o644), text.encode()))
