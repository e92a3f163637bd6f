"""The time zones, locales, keyboard layouts and groups that an image offers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.builder.steps.system import parse_layouts
from atoll.host.run import require_program, run
from atoll.image.read_file import read_content
from atoll.store.tree_images import read_image
from atoll.tree.model import Directory, Node, Regular, Symlink

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from atoll.base.ids import TreeId
    from atoll.store.layout import Store

BUILT_IN_LOCALES = ("C.UTF-8",)
"""Every C library of Debian has it."""
ZONES = "usr/share/zoneinfo"
_LAYOUTS = "usr/share/X11/xkb/rules/base.lst"
_LOCALES = "usr/lib/locale"
_ARCHIVE = f"{_LOCALES}/locale-archive"
_MOST_LINKS = 40
_ZONE_NAME = re.compile(r"[A-Z][A-Za-z0-9_+-]*")
_NO_ZONES = frozenset({"posix", "right", "Factory"})


@dataclass(frozen=True)
class ImageContents:
    """A tree in a store. Reading raises NotFound or Damaged."""

    store: Store
    tree: TreeId

    @cached_property
    def _root(self) -> Directory:
        return read_image(self.store, self.tree)

    def find(self, path: str) -> Node | None:
        """What ``path`` leads to in the tree, links followed; None when there is nothing."""
        return self._follow(path, 0)

    def has(self, path: str) -> bool:
        return self.find(path) is not None

    def read(self, path: str) -> bytes:
        """The content of a file, empty when there is none."""
        node = self.find(path)
        return read_content(self.store, node, path) if isinstance(node, Regular) else b""

    @cached_property
    def timezones(self) -> tuple[str, ...]:
        """All names, in order; empty without the package tzdata."""
        return tuple(sorted(_zones(self.find(ZONES), "")))

    @cached_property
    def locales(self) -> tuple[str, ...]:
        """All names as ``locale -a`` prints them: the codeset is spelled utf8."""
        place = self.find(_LOCALES)
        entries = place.entries if isinstance(place, Directory) else {}
        alone = {
            name.decode(errors="replace")
            for name, node in entries.items()
            if isinstance(node, Directory)
        }
        archive = self.find(_ARCHIVE)
        if isinstance(archive, Regular) and archive.object is not None:
            program = require_program("localedef", package="libc-bin")
            listed = run([program, "--list-archive", self.store.object_path(archive.object)])
            alone |= set(listed.decode(errors="replace").split())
        return tuple(sorted(alone))

    @cached_property
    def layouts(self) -> Mapping[str, frozenset[str]]:
        """Keyboard layouts with their variants; empty without the package xkb-data."""
        return parse_layouts(self.read(_LAYOUTS).decode(errors="replace"))

    @cached_property
    def layout_titles(self) -> Mapping[str, str]:
        """What layouts are called, in English."""
        return _parse_titles(self.read(_LAYOUTS).decode(errors="replace"))

    @cached_property
    def groups(self) -> frozenset[str]:
        return frozenset(_first_fields(self.read("etc/group")))

    @cached_property
    def users(self) -> frozenset[str]:
        return frozenset(_first_fields(self.read("etc/passwd")))

    @cached_property
    def has_network_manager(self) -> bool:
        return self.has("usr/sbin/NetworkManager")

    @cached_property
    def has_networkd(self) -> bool:
        """Whether systemd-networkd is there and starts."""
        wanted = "etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
        return self.has(wanted)

    def has_locale(self, name: str) -> bool:
        return name in BUILT_IN_LOCALES or _plain(name) in map(_plain, self.locales)

    def _follow(self, path: str, links: int) -> Node | None:
        node: Node | None = self._root
        parts = [part for part in path.split("/") if part not in ("", ".")]
        for number, part in enumerate(parts):
            if not isinstance(node, Directory) or part == "..":
                return None
            node = node.entries.get(part.encode())
            if isinstance(node, Symlink):
                if links == _MOST_LINKS:
                    raise Damaged(f"/{path} in the tree has too many links")
                here = "/".join(parts[:number])
                target = _join(here, node.target.decode(errors="surrogateescape"))
                rest = "/".join(parts[number + 1 :])
                return self._follow(f"{target}/{rest}", links + 1)
        return node


def _join(directory: str, target: str) -> str:
    """Where a link in ``directory`` leads, relative to the root."""
    names: list[str] = [] if target.startswith("/") else directory.split("/")
    for part in target.split("/"):
        if part == "..":
            names = names[:-1]
        elif part not in ("", "."):
            names.append(part)
    return "/".join(names)


def _zones(node: Node | None, path: str) -> Iterator[str]:
    if not isinstance(node, Directory):
        return
    for name, child in node.entries.items():
        text = name.decode(errors="replace")
        if not _ZONE_NAME.fullmatch(text) or text in _NO_ZONES:
            continue
        whole = f"{path}/{text}" if path else text
        if isinstance(child, Directory):
            yield from _zones(child, whole)
        else:
            yield whole


def _plain(locale: str) -> str:
    """``de_DE.UTF-8`` and ``de_DE.utf8`` are one locale."""
    name, dot, codeset = locale.partition(".")
    codeset, at, modifier = codeset.partition("@")
    return f"{name}{dot}{re.sub('[^a-z0-9]', '', codeset.lower())}{at}{modifier}"


def _first_fields(data: bytes) -> Iterator[str]:
    for line in data.decode(errors="replace").splitlines():
        if ":" in line:
            yield line.partition(":")[0]


def _parse_titles(text: str) -> dict[str, str]:
    """Of ``! layout`` in xkb's base.lst: a name and a title on each line."""
    titles: dict[str, str] = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("!"):
            section = line[1:].strip()
        elif section == "layout" and len(line.split(None, 1)) > 1:
            name, title = line.split(None, 1)
            titles[name] = title.strip()
    return titles
