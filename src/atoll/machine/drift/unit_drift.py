"""Units that were enabled, disabled or masked: the difference of links in ``/etc/systemd``.

A link in a directory such as ``multi-user.target.wants`` starts the unit of its name, whatever it
links to (systemd.unit(5)). A link directly in ``system`` or ``user`` masks a unit if it leads to
``/dev/null``, and is an alias if it leads to a unit of another name. Other links there make a file
from elsewhere a unit; they are files of ``/etc``, as unit files themselves are.

Links in ``/etc/rc?.d`` enable init scripts, which are units only where no unit has their name.
``systemctl`` changes them together with the links of a unit, so they count only without those.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atoll.machine.drift.model import UnitChange, UnitDrift
from atoll.machine.etc.etc_tree import Kind, node_at, walk

if TYPE_CHECKING:
    from atoll.machine.etc.etc_tree import Entry, Node

MANAGERS = ("system", "user")
_STARTS = re.compile(r"[^/]+\.(?:wants|requires|upholds)")
_SCRIPT = re.compile(r"rc[0-6S]\.d/[SK][0-9]{2}(.+)")
_STARTED = re.compile(r"rc[2-5]\.d/S[0-9]{2}(.+)")
_ALIAS = re.compile(r"(?:.*/)?(?:lib|etc|share)/systemd/(?:system|user)/([^/]+)|(?:\./)?([^/]+)")
"""The target of an alias: in a directory of units, or beside the link."""


@dataclass(slots=True)
class _Unit:
    masked: str = ""
    links: set[str] = field(default_factory=set)
    scripts: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitLink:
    """``unit`` of ``manager`` is masked, or started, by a link."""

    manager: str
    unit: str
    masks: bool = False


def parse_unit_link(path: str, entry: Entry) -> UnitLink | None:
    """What a name in ``/etc`` (``path`` is relative to it) says of a unit; None if nothing."""
    parts = path.split("/")
    if entry.kind is not Kind.SYMLINK or parts[0] != "systemd" or len(parts) not in (3, 4):
        return None
    manager, name = parts[1], parts[-1]
    if manager not in MANAGERS:
        return None
    if len(parts) == 4:
        return UnitLink(manager=manager, unit=name) if _STARTS.fullmatch(parts[2]) else None
    if entry.content == "/dev/null":
        return UnitLink(manager=manager, unit=name, masks=True)
    alias = _ALIAS.fullmatch(entry.content)
    unit = (alias[1] or alias[2]) if alias else name
    return UnitLink(manager=manager, unit=unit) if unit != name else None


def is_script_link(path: str, entry: Entry) -> bool:
    """Whether a name in ``/etc`` enables or disables an init script."""
    return entry.kind is Kind.SYMLINK and _SCRIPT.fullmatch(path) is not None


def is_link_directory(path: str) -> bool:
    """Whether ``path`` is a directory of links that start units: it comes and goes with them."""
    parts = path.split("/")
    inside = len(parts) == 3 and parts[0] == "systemd" and parts[1] in MANAGERS
    return inside and _STARTS.fullmatch(parts[2]) is not None


def find_unit_drift(tree: Node, live: Node) -> tuple[UnitDrift, ...]:
    """``tree`` and ``live`` are the ``/etc`` of the tree and of the machine."""
    before, after = _read_units(tree), _read_units(live)
    found = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key, _Unit()), after.get(key, _Unit())
        if not (old.links or new.links or old.masked or new.masked):
            old, new = _Unit(links=old.scripts), _Unit(links=new.scripts)
        change = _compare(old, new)
        if change is not None:
            manager, unit = key
            gone, come = ({*each.links, *filter(None, [each.masked])} for each in (old, new))
            found.append(
                UnitDrift(
                    unit=unit,
                    manager=manager,
                    change=change,
                    added=tuple(sorted(come - gone)),
                    removed=tuple(sorted(gone - come)),
                )
            )
    return tuple(found)


def find_links(etc: Node, manager: str, unit: str) -> frozenset[str]:
    """The links in an ``/etc`` that start a unit, relative to it."""
    return frozenset(_read_units(etc).get((manager, unit), _Unit()).links)


def _read_units(etc: Node) -> dict[tuple[str, str], _Unit]:
    units: dict[tuple[str, str], _Unit] = {}
    for manager in MANAGERS:
        top = f"systemd/{manager}"
        node = node_at(etc, top)
        for path, entry in walk(node, top) if node else ():
            link = parse_unit_link(path, entry)
            if link is None:
                continue
            unit = units.setdefault((manager, link.unit), _Unit())
            if link.masks:
                unit.masked = path
            else:
                unit.links.add(path)
    for level in "2345":
        folder = node_at(etc, f"rc{level}.d")
        for name in folder.children if folder else ():
            script = _STARTED.fullmatch(f"rc{level}.d/{name}")
            if script is not None:
                unit = units.setdefault(("system", f"{script[1]}.service"), _Unit())
                unit.scripts.add(f"rc{level}.d/{name}")
    return units


def _compare(old: _Unit, new: _Unit) -> UnitChange | None:
    if bool(old.masked) != bool(new.masked):
        if new.masked:
            return UnitChange.MASKED
        return UnitChange.ENABLED if new.links else UnitChange.UNMASKED
    # Links to a masked unit start nothing.
    if old.links == new.links or new.masked:
        return None
    if not new.links:
        return UnitChange.DISABLED
    return UnitChange.LINKS if old.links else UnitChange.ENABLED
