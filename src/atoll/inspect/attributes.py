"""What two systems are compared by, each as names with a text: ``{"ann": "uid=1000 gid=1000 …"}``.

Pure: from the bytes of a tree's files, or from its names alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from atoll.tree.model import Directory, Regular, Symlink
from atoll.tree.path_ops import find_node

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from atoll.tree.model import Node

Facet: TypeAlias = Mapping[str, str]
"""Names with what is true of them. Two systems agree in it when the mappings are equal."""

UNIT_PLACES = ("etc/systemd", "usr/lib/systemd")
"""Where units and the links that enable them are, the place that wins first."""
_UNIT = re.compile(r".+\.(?:service|socket|target|timer|path|mount|automount|swap|slice|scope)")
_INSTANCE = re.compile(r"([^@]+@)[^@]+(\.[a-z]+)")
_WANTS = re.compile(r".+\.(?:wants|requires|upholds)")
_NOTHING = b"/dev/null"


def argument_facet(arguments: Iterable[str]) -> Facet:
    """Kernel arguments by their key; of one that is given several times all, in their order."""
    found: dict[str, str] = {}
    for argument in arguments:
        key = argument.partition("=")[0]
        found[key] = f"{found[key]} {argument}" if key in found else argument
    return found


def user_facet(passwd: str, shadow: str | None) -> Facet:
    """Accounts with ids, home, shell, and whether the password can be used to log in."""
    passwords = {row[0]: row[1] for row in _rows(shadow or "", 2)}
    return {
        row[0]: f"uid={row[2]} gid={row[3]} home={row[5]} shell={row[6]}"
        f" password={_password(passwords.get(row[0], row[1]))}"
        for row in _rows(passwd, 7)
    }


def group_facet(group: str) -> Facet:
    return {
        row[0]: f"gid={row[2]} members={','.join(sorted(row[3].split(',')))}"
        for row in _rows(group, 4)
    }


def unit_facet(tree: Directory) -> Facet:
    """Units with ``enabled``, ``masked``, ``alias of OTHER``, or ``disabled`` where no link in
    /etc enables one.

    Units of users' managers have `` (user)`` behind their names. What only other units start counts
    as disabled. An enabled instance enables its template, too.
    """
    found: dict[str, str] = {}
    for kind, mark in (("system", ""), ("user", " (user)")):
        places = [find_directory(tree, f"{place}/{kind}") for place in UNIT_PLACES]
        for place in reversed([each for each in places if each]):
            for name, node in place.entries.items():
                unit = name.decode(errors="backslashreplace")
                if _UNIT.fullmatch(unit):
                    found[unit + mark] = _state(unit, node)
        for unit in _enabled(places[0]):
            if found.get(unit + mark, "disabled") == "disabled":
                found[unit + mark] = "enabled"
    return found


def _state(unit: str, node: Node) -> str:
    if _is_mask(node):
        return "masked"
    other = _target(node) if isinstance(node, Symlink) else unit
    return "disabled" if other == unit else f"alias of {other}"


def _enabled(etc: Directory | None) -> Iterator[str]:
    """The units that links in /etc start, and those that it has another name for."""
    for name, node in (etc.entries if etc else {}).items():
        if isinstance(node, Symlink) and not _is_mask(node) and name != b"default.target":
            yield _target(node)
        elif isinstance(node, Directory) and _WANTS.fullmatch(name.decode(errors="replace")):
            for unit, link in node.entries.items():
                if isinstance(link, Symlink):
                    text = unit.decode(errors="backslashreplace")
                    yield text
                    yield _INSTANCE.sub(r"\1\2", text)


def _target(link: Symlink) -> str:
    return link.target.rpartition(b"/")[2].decode(errors="backslashreplace")


def _is_mask(node: Node) -> bool:
    if isinstance(node, Symlink):
        return node.target == _NOTHING
    return isinstance(node, Regular) and node.size == 0


def find_directory(tree: Directory, path: str) -> Directory | None:
    node = find_node(tree, path)
    return node if isinstance(node, Directory) else None


def _rows(text: str, fields: int) -> Iterator[list[str]]:
    """The lines that have at least so many fields."""
    for line in text.splitlines():
        row = line.split(":")
        if len(row) >= fields and row[0]:
            yield row


def _password(field: str) -> str:
    if not field:
        return "empty"
    return "locked" if field[0] in "!*" or field == "x" else "set"
