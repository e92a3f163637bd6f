"""Which units a live change stops, starts and restarts, and which keep running as they are. Pure.

A unit is restarted when its files changed, or the program that it starts, or a file that this
program gets as an argument, or the package of the program. Nothing else is: a service keeps the
libraries that it has loaded until its next start.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from atoll.machine.live.tree_view import UNIT_DIRECTORIES, merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from atoll.machine.live.tree_view import TreeView

PROPERTIES = (
    "Id",
    "Names",
    "ActiveState",
    "FragmentPath",
    "DropInPaths",
    "Type",
    "ExecStart",
    "RefuseManualStart",
    "RefuseManualStop",
)
"""What ``parse_units`` needs of ``systemctl show``."""
NEVER = {
    "dbus.service": "all programs would lose their connections to each other",
    "dbus-broker.service": "all programs would lose their connections to each other",
    "systemd-logind.service": "it has the sessions of everyone who is logged in",
    "display-manager.service": "it would end everyone's desktop",
    "user@*.service": "it has a person's programs",
    "user-runtime-dir@*.service": "it has a person's programs",
    "getty@*.service": "it would end a session on a terminal",
    "serial-getty@*.service": "it would end a session on a terminal",
    "console-getty.service": "it would end a session on a terminal",
    "autovt@*.service": "it would end a session on a terminal",
    "NetworkManager.service": "the network would go down for a moment",
    "wpa_supplicant*.service": "the network would go down for a moment",
    "iwd.service": "the network would go down for a moment",
    "networking.service": "the network would go down for a moment",
    "ifup@*.service": "the network would go down for a moment",
    "docker.service": "it would end its containers",
    "containerd.service": "it would end its containers",
    "systemd-cryptsetup@*.service": "a disk in use is behind it",
    "*.scope": "it has the programs of a session",
    "*.slice": "it only contains other units",
    "atoll-*": "it is part of the boot or of this change",
}
"""Units that keep running, by pattern, and why; the list in docs/reference/live.md is the same."""
_STARTED = (".service", ".socket", ".timer", ".path", ".mount", ".automount", ".target")
_RESTARTED = (".service", ".timer", ".path")
_ACTIVE = ("active", "reloading", "activating")
_PROGRAM = re.compile(r"\{ path=(.*?) ; argv\[\]=(.*?) ; ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A loaded unit; ``files`` are its unit file and drop-ins, ``programs`` what it starts."""

    name: str
    names: tuple[str, ...] = ()
    active: bool = False
    fragment: str = ""
    files: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    """Paths that the programs get as arguments: scripts, and files with settings."""
    once: bool = False
    """It runs a program to its end (``Type=oneshot``)."""
    manual: bool = True
    """Whether systemd starts and stops it on request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPlan:
    """Names of units. ``kept`` are those that changed, but keep running as they are, and why."""

    stop: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    kept: tuple[tuple[str, str], ...] = ()


def parse_units(text: str) -> tuple[Unit, ...]:
    """Parse the output of ``systemctl show '*' --property=…``: a paragraph for each unit."""
    return tuple(_parse_unit(paragraph) for paragraph in text.split("\n\n") if "Id=" in paragraph)


def _parse_unit(paragraph: str) -> Unit:
    values: dict[str, list[str]] = {}
    for line in paragraph.splitlines():
        name, _, value = line.partition("=")
        values.setdefault(name, []).append(value)

    def one(name: str) -> str:
        return values.get(name, [""])[0]

    fragment = merged(one("FragmentPath"))
    commands = [each for value in values.get("ExecStart", ()) for each in _PROGRAM.findall(value)]
    words = [word for _, line in commands for word in line.split()[1:] if word.startswith("/")]
    return Unit(
        name=one("Id"),
        names=tuple(one("Names").split()),
        active=one("ActiveState") in _ACTIVE,
        fragment=fragment,
        files=tuple(filter(None, (fragment, *one("DropInPaths").split()))),
        programs=tuple(path for path, _ in commands),
        arguments=tuple(words),
        once=one("Type") == "oneshot",
        manual="yes" not in (one("RefuseManualStart"), one("RefuseManualStop")),
    )


def plan_units(
    units: Iterable[Unit],
    old: TreeView,
    new: TreeView,
    changed_packages: Iterable[str],
    *,
    own: str = "",
) -> UnitPlan:
    """``own`` is the unit in which the change was asked for: restarting it would end the answer."""
    known = tuple(units)
    active = {name for unit in known if unit.active for name in (unit.name, *unit.names)}
    owned = frozenset(
        path for view in (old, new) for name in changed_packages for path in view.files_of(name)
    )
    before, after = old.units(), new.units()
    plan = UnitPlan(start=tuple(sorted(_list_started(old, new, active, after))))
    for unit in sorted(known, key=lambda each: each.name):
        if unit.active and unit.fragment:
            plan = _add(plan, unit, before, after, _is_changed(unit, old, new, owned), own)
    return plan


def _add(
    plan: UnitPlan,
    unit: Unit,
    before: frozenset[str],
    after: frozenset[str],
    changed: bool,
    own: str,
) -> UnitPlan:
    gone = unit.fragment in before and not _has_file(unit, after)
    if not (gone or changed):
        return plan
    why = _why_kept(unit, own)
    if not why and not gone and unit.name.endswith(".socket"):
        why = "its listeners stay open until it is stopped"
    if not why and not gone and unit.once:
        why = "it runs once at each boot"
    if why:
        return replace(plan, kept=(*plan.kept, (unit.name, why)))
    if gone:
        return replace(plan, stop=(*plan.stop, unit.name))
    if unit.name.endswith(_RESTARTED):
        return replace(plan, restart=(*plan.restart, unit.name))
    return plan


def _has_file(unit: Unit, files: frozenset[str]) -> bool:
    """Whether a unit of this name, or the template of it, has a file."""
    names = [unit.name, *unit.names]
    names += [
        f"{name.partition('@')[0]}@.{name.rpartition('.')[2]}" for name in names if "@" in name
    ]
    return any(f"{directory}/{name}" in files for directory in UNIT_DIRECTORIES for name in names)


def _why_kept(unit: Unit, own: str) -> str:
    names = (unit.name, *unit.names)
    if own in names:
        return "this change was asked for in it"
    for pattern, why in NEVER.items():
        if any(fnmatchcase(name, pattern) for name in names):
            return why
    return "" if unit.manual else "systemd starts and stops it only by itself"


def _is_changed(unit: Unit, old: TreeView, new: TreeView, owned: frozenset[str]) -> bool:
    if any(merged(program) in owned for program in unit.programs):
        return True
    paths = (*unit.files, *unit.programs, *unit.arguments)
    return any(old.identity(path) != new.identity(path) for path in paths)


def _list_started(
    old: TreeView, new: TreeView, active: set[str], files: frozenset[str]
) -> Iterator[str]:
    """Units that the new system enables, wanted by what is active, and that are not active yet."""
    for wanting, unit in new.wanted() - old.wanted():
        template = f"{unit.partition('@')[0]}@.{unit.rpartition('.')[2]}" if "@" in unit else unit
        there = any(f"{directory}/{template}" in files for directory in UNIT_DIRECTORIES)
        if wanting in active and unit not in active and unit.endswith(_STARTED) and there:
            yield unit
