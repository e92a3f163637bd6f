"""The facets by which two systems are compared: names with texts, ``{"ann": "uid=1000 …"}``.

Pure functions of the contents of a tree's files, or of its names.
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
"""One aspect of a system: names, each with a text that describes it."""

_UNIT_DIRECTORIES = ("etc/systemd", "usr/lib/systemd")
"""Directories of units and of the links that enable them, highest precedence first."""
_UNIT = re.compile(r".+\.(?:service|socket|target|timer|path|mount|automount|swap|slice|scope)")
_INSTANCE = re.compile(r"([^@]+@)[^@]+(\.[a-z]+)")
_WANTS = re.compile(r".+\.(?:wants|requires|upholds)")
_NULL_DEVICE = b"/dev/null"


def argument_facet(arguments: Iterable[str]) -> Facet:
    """Kernel arguments by key; repeated arguments are joined in their order."""
    found: dict[str, str] = {}
    for argument in arguments:
        key = argument.partition("=")[0]
        found[key] = f"{found[key]} {argument}" if key in found else argument
    return found


def user_facet(passwd: str, shadow: str | None) -> Facet:
    """Users from passwd(5) and shadow(5): ids, home, shell, and the state of the password."""
    passwords = {row[0]: row[1] for row in _rows(shadow or "", 2)}
    return {
        row[0]: f"uid={row[2]} gid={row[3]} home={row[5]} shell={row[6]}"
        f" password={_password(passwords.get(row[0], row[1]))}"
        for row in _rows(passwd, 7)
    }


def group_facet(group: str) -> Facet:
    """Groups from group(5): gid and members."""
    return {
        row[0]: f"gid={row[2]} members={','.join(sorted(row[3].split(',')))}"
        for row in _rows(group, 4)
    }


def unit_facet(tree: Directory) -> Facet:
    """The units of a tree, each ``enabled``, ``disabled``, ``masked`` or ``alias of OTHER``.

    Enabled means that a link in /etc starts it; a unit that only other units start counts as
    disabled. An enabled instance enables its template, too. Units of user managers have the suffix
    `` (user)``.
    """
    found: dict[str, str] = {}
    for kind, suffix in (("system", ""), ("user", " (user)")):
        directories = [find_directory(tree, f"{parent}/{kind}") for parent in _UNIT_DIRECTORIES]
        for directory in reversed([each for each in directories if each]):
            for name, node in directory.entries.items():
                unit = name.decode(errors="backslashreplace")
                if _UNIT.fullmatch(unit):
                    found[unit + suffix] = _state(unit, node)
        for unit in _enabled(directories[0]):
            if found.get(unit + suffix, "disabled") == "disabled":
                found[unit + suffix] = "enabled"
    return found


def _state(unit: str, node: Node) -> str:
    if _is_mask(node):
        return "masked"
    other = _target(node) if isinstance(node, Symlink) else unit
    return "disabled" if other == unit else f"alias of {other}"


def _enabled(etc: Directory | None) -> Iterator[str]:
    """The units that links in /etc enable: by ``.wants``, ``.requires``, ``.upholds`` or alias."""
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
        return node.target == _NULL_DEVICE
    return isinstance(node, Regular) and node.size == 0


def find_directory(tree: Directory, path: str) -> Directory | None:
    """The directory at the relative ``path``; None if absent or something else."""
    node = find_node(tree, path)
    return node if isinstance(node, Directory) else None


def _rows(text: str, fields: int) -> Iterator[list[str]]:
    """The lines with at least ``fields`` fields separated by colons."""
    for line in text.splitlines():
        row = line.split(":")
        if len(row) >= fields and row[0]:
            yield row


def _password(field: str) -> str:
    if not field:
        return "empty"
    return "locked" if field[0] in "!*" or field == "x" else "set"
