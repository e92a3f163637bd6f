"""Which changed paths belong to an image, and which are the person's or nobody's. Pure."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from atoll.base.text import is_one_line
from atoll.builder.finish.var_rules import VarAction, match_var_rule
from atoll.layering.capture.model import CapturedPath, Happened, NotKept, PathKind
from atoll.recipe.language.check_paths import check_file_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Place(StrEnum):
    """Where a path belongs."""

    IMAGE = "image"
    """A file of the tree."""
    STATE = "state"
    """In /var: each machine gets a first copy, which is its own from then on."""
    PERSON = "person"
    """In a home directory, or data: no image has it."""
    ACCOUNTS = "accounts"
    """In the files of users and groups, which the recipe has tables for."""
    GENERATED = "generated"
    """Made again from other files."""
    DROPPED = "dropped"
    """Temporary, a cache, a log, a backup."""
    LEFT_OUT = "left out"
    """No image can have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """The changed paths by where they belong. ``commands`` make the generated files again."""

    image: tuple[CapturedPath, ...] = ()
    state: tuple[CapturedPath, ...] = ()
    person: tuple[NotKept, ...] = ()
    dropped: tuple[NotKept, ...] = ()
    left_out: tuple[NotKept, ...] = ()
    commands: tuple[str, ...] = ()


_PERSONS = ("/home", "/root", "/srv", "/mnt", "/media")
_TEMPORARY = ("/dev", "/proc", "/run", "/sys", "/tmp", "/var/tmp")
_ACCOUNTS = re.compile(r"/etc/(?:passwd|group|shadow|gshadow|subuid|subgid)")
_BACKUP = re.compile(_ACCOUNTS.pattern + r"-|/etc/\.pwd\.lock|/var/lib/dpkg/.*-old|.*\.pyc")
_DPKG = re.compile(r"/var/lib/dpkg/(?:status|available|lock.*|info|updates|triggers)(?:/.*)?")
_GENERATED: tuple[tuple[str, str], ...] = (
    (r"/etc/ld\.so\.cache", "ldconfig"),
    (r"/usr/share/applications/mimeinfo\.cache", "update-desktop-database -q"),
    (
        r"/usr/share/glib-2\.0/schemas/gschemas\.compiled",
        "glib-compile-schemas /usr/share/glib-2.0/schemas",
    ),
    (
        r"/usr/share/mime/(?:[^/]*cache|[^/]*globs2?|magic|types|aliases|subclasses|icons|XMLnamespaces"
        r"|treemagic|version|generic-icons|[a-z-]+/[^/]+\.xml)",
        "update-mime-database /usr/share/mime",
    ),
    (r"/(?:usr/lib|etc)/udev/hwdb\.bin", "systemd-hwdb --usr update"),
)
"""Files that depend on what else is in a tree, and the command that makes them. A copy would hide
what later versions of the image bring."""
_ALLOWED = ("/opt", "/usr/local")
"""Directories that ``[[file]]`` cannot write to, and captured files can."""


def sort_changes(
    changes: Iterable[CapturedPath], rules: Mapping[str, VarAction], handled: frozenset[str]
) -> Sorted:
    """``rules`` are those of the image for /var. ``handled`` are paths that words of the recipe
    say already, such as links of enabled units."""
    kept: dict[Place, list[CapturedPath]] = {Place.IMAGE: [], Place.STATE: []}
    gone: dict[Place, list[NotKept]] = {
        Place.PERSON: [],
        Place.DROPPED: [],
        Place.LEFT_OUT: [],
    }
    commands: dict[str, None] = {}
    for change in changes:
        if change.path in handled:
            continue
        place, why = find_place(change, rules)
        if place is Place.GENERATED:
            commands[why] = None
        elif place in kept:
            kept[place].append(change)
        elif place in gone:
            gone[place].append(NotKept(path=change.path, why=why))
    return Sorted(
        image=tuple(kept[Place.IMAGE]),
        state=tuple(kept[Place.STATE]),
        person=merge_below(gone[Place.PERSON]),
        dropped=merge_below(gone[Place.DROPPED]),
        left_out=merge_below(gone[Place.LEFT_OUT]),
        commands=tuple(commands),
    )


def find_place(change: CapturedPath, rules: Mapping[str, VarAction]) -> tuple[Place, str]:
    """Where it belongs, and why; of a generated file the command that makes it."""
    path = change.path
    if is_below(path, _TEMPORARY):
        return Place.DROPPED, "temporary"
    if is_below(path, _PERSONS):
        # The directories themselves are mount points of every tree.
        why = "it is yours, and no part of an image"
        return (Place.DROPPED, "a mount point") if path in _PERSONS else (Place.PERSON, why)
    if _ACCOUNTS.fullmatch(path):
        return Place.ACCOUNTS, ""
    if _BACKUP.fullmatch(path):
        return Place.DROPPED, "a backup or a cache"
    for pattern, command in _GENERATED:
        if re.fullmatch(pattern, path):
            return Place.GENERATED, command
    flaw = _find_flaw(change)
    if flaw:
        return Place.LEFT_OUT, flaw
    if is_below(path, ("/var",)):
        return _find_place_in_var(path, rules)
    return Place.IMAGE, ""


def _find_place_in_var(path: str, rules: Mapping[str, VarAction]) -> tuple[Place, str]:
    if _DPKG.fullmatch(path):
        return Place.DROPPED, "the package database"
    match match_var_rule(path, rules):
        case VarAction.TREE:
            return Place.IMAGE, ""
        case VarAction.DROP:
            return Place.DROPPED, "a cache or a log"
    return Place.STATE, ""


def _find_flaw(change: CapturedPath) -> str:
    """Why no image can have this; empty if one can."""
    path = change.path
    if not is_one_line(path) or not is_one_line(change.target) or "\\" in path:
        return "its name has characters that a recipe cannot have"
    if change.kind is PathKind.OTHER and change.happened is not Happened.REMOVED:
        return "it is a device, a socket or a pipe, which programs make when they start"
    if change.happened is not Happened.REMOVED and not (change.owner and change.group):
        return "it belongs to a user or group without a name"
    if change.xattrs:
        return f"it has extended attributes: {', '.join(change.xattrs)}"
    if change.capabilities.startswith("capabilities:") or "[root" in change.capabilities:
        return "its capabilities cannot be read"
    if is_below(path, (*_ALLOWED, "/var")):
        return ""
    flaw = check_file_path(path)
    return "" if flaw is None else (flaw.hint or flaw.message)


def is_below(path: str, directories: Iterable[str]) -> bool:
    """Whether ``path`` is one of the directories, or in one."""
    return any(path == each or path.startswith(f"{each}/") for each in directories)


def merge_below(paths: Iterable[NotKept]) -> tuple[NotKept, ...]:
    """A path stands for all below it that are left out for the same reason."""
    merged: dict[str, NotKept] = {}
    for each in sorted(paths, key=lambda each: each.path.split("/")):
        parent = posixpath.dirname(each.path)
        while parent != "/" and (parent not in merged or merged[parent].why != each.why):
            parent = posixpath.dirname(parent)
        above = merged.get(parent)
        if above is None:
            merged[each.path] = each
        else:
            merged[parent] = NotKept(path=parent, why=above.why, count=above.count + each.count)
    return tuple(merged.values())


def find_state_rules(
    state: Iterable[CapturedPath], rules: Mapping[str, VarAction]
) -> tuple[str, ...]:
    """The words for ``[var] state`` that cover what no rule covers: the outermost new paths."""
    words: list[str] = []
    for each in state:
        if match_var_rule(each.path, rules) is None and not is_below(each.path, words):
            if each.kind is PathKind.DIRECTORY and each.happened is not Happened.ADDED:
                continue
            words.append(each.path)
    return tuple(words)
