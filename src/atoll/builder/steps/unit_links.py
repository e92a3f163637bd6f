"""Which units of a root are enabled or masked, and what starts them, from symbolic links.

``systemctl is-enabled`` is not enough: it reports a unit as disabled although a link in /usr, which
a package ships, starts it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from atoll.host.in_root import glob_in_root, in_root, read_text

if TYPE_CHECKING:
    from pathlib import Path

_SUFFIXES = (
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
)
_STARTS = re.compile(r".+\.(wants|requires|upholds)")
_INSTANCE = re.compile(r"([^@]+@)([^@]+)(\.[a-z]+)")
_ALSO = re.compile(r"^[ \t]*Also[ \t]*=(.*)$", re.MULTILINE)


def full_name(name: str) -> str:
    """The name with ``.service`` if it has no unit suffix, as systemctl completes it."""
    return name if name.rpartition(".")[2] in _SUFFIXES else f"{name}.service"


def template_of(name: str) -> str | None:
    """``foo@.service`` for ``foo@bar.service``; None if the name is not an instance."""
    found = _INSTANCE.fullmatch(name)
    return f"{found.group(1)}{found.group(3)}" if found else None


@dataclass(frozen=True, eq=False)
class UnitLinks:
    """The units of ``root`` of one kind, ``system`` or ``user``. Names of units have suffixes."""

    root: Path
    kind: str

    @property
    def etc(self) -> Path:
        return in_root(self.root, f"etc/systemd/{self.kind}")

    @cached_property
    def vendor(self) -> tuple[Path, ...]:
        places = ("usr/lib/systemd", *(["usr/share/systemd"] if self.kind == "user" else []))
        return tuple(in_root(self.root, f"{place}/{self.kind}") for place in places)

    def file(self, name: str) -> Path | None:
        """The unit's file, with links followed: for an instance that of its template. None if there
        is none."""
        for each in filter(None, (name, template_of(name))):
            for place in (self.etc, *self.vendor):
                path = place / each
                if os.path.lexists(path):
                    return self._end(path)
        return None

    def is_masked(self, name: str) -> bool:
        path = self.file(name)
        return path is not None and path == self.root / "dev/null"

    def etc_links(self, name: str) -> list[Path]:
        """The links in /etc that enable it: in .wants, .requires and .upholds directories, and its
        aliases."""
        file, found = self.file(name), []
        if file is None:
            return []
        if self.is_masked(name):
            file = None  # all masks link to /dev/null: other masked units are not its aliases
        for link in self._links:
            if _STARTS.fullmatch(link.parent.name):
                same = link.name == name or template_of(link.name) == name
                if same or (
                    self._end(link) == file and not template_of(link.name) and not template_of(name)
                ):
                    found.append(link)
            elif link.name != name and not template_of(name) and self._end(link) == file:
                found.append(link)
        return found

    def vendor_links(self, name: str) -> list[Path]:
        """The links of packages, outside of /etc, that start it with another unit."""
        folders = (
            folder
            for place in self.vendor
            for folder in sorted(place.glob("*.*"))
            if _STARTS.fullmatch(folder.name)
        )
        return [path for folder in folders if (path := folder / name).is_symlink()]

    def is_enabled(self, name: str) -> bool:
        """Whether any link starts it; links of init scripts in /etc/rc?.d count too."""
        if self.is_masked(name):
            return False
        return bool(self.etc_links(name) or self.vendor_links(name) or self._scripts(name))

    def also(self, name: str) -> frozenset[str]:
        """The units that systemctl enables with it (``Also=``), directly or through others."""
        found: set[str] = set()
        todo = [name]
        while todo:
            new = self._also(todo.pop()) - found - {name}
            found |= new
            todo += new
        return frozenset(found)

    def _also(self, name: str) -> set[str]:
        path = self.file(name)
        if path is None or path.is_symlink() or not path.is_file():
            return set()
        folders = (place / f"{name}.d" for place in (self.etc, *self.vendor))
        names = [str(folder.relative_to(self.root)) for folder in folders]
        texts = [
            path,
            *(file for name in names for file in glob_in_root(self.root, name, "*.conf")),
        ]
        lines = "\n".join(
            read_text(self.root, str(file.relative_to(self.root)), missing="") for file in texts
        )
        words = (
            word for line in _ALSO.findall(lines.replace("\\\n", " ")) for word in line.split()
        )
        return {full_name(word) for word in words if "%" not in word}

    def _scripts(self, name: str) -> list[Path]:
        if self.kind != "system" or self.file(name) is not None:
            return []
        script = name.removesuffix(".service")
        return sorted(self.root.glob(f"etc/rc[S2-5].d/S[0-9][0-9]{script}"))

    @cached_property
    def _links(self) -> tuple[Path, ...]:
        return tuple(path for path in sorted(self.etc.rglob("*")) if path.is_symlink())

    def _end(self, path: Path) -> Path:
        """The target of a link; for a link in a loop, the link itself."""
        try:
            return in_root(self.root, str(path.relative_to(self.root)))
        except OSError:
            return path
