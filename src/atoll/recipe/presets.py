"""The preset file that says of a tree's units what the links in its ``/etc`` say.

systemd applies presets on a machine's first boot, and ``systemctl preset-all`` whenever a person
asks; with this file both change nothing. An enabled template names its instances.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from atoll.debian.install import room

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

PRESET = "usr/lib/systemd/system-preset/00-atoll.preset"
_WANTS = re.compile(r".+\.(wants|requires|upholds)")
_INSTANCE = re.compile(r"([^@]+@)([^@]+)(\.[a-z]+)")


def write_presets(root: Path) -> tuple[str, ...]:
    """Drop dangling links, write the preset file and apply it once; says which links that changed.

    Applying it makes what a package enabled only in part whole, so that the next time changes
    nothing.
    """
    drop_dangling(root)
    listing = room(root).run(
        ["systemctl", "list-unit-files", "--root=/", "--full", "--no-legend", "--no-pager"]
    )
    enabled = parse_enabled(listing.decode())
    path = root / PRESET
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(format_presets(enabled, read_instances(root)))
    before = read_links(root)
    room(root).run(["systemctl", "--no-reload", "--root=/", "preset-all"])
    after = read_links(root)
    return tuple(sorted(before ^ after))


def parse_enabled(listing: str) -> tuple[str, ...]:
    """The enabled units in what ``systemctl list-unit-files`` prints."""
    rows = (line.split() for line in listing.splitlines())
    return tuple(sorted(row[0] for row in rows if len(row) > 1 and row[1] == "enabled"))


def format_presets(enabled: Iterable[str], instances: Mapping[str, Iterable[str]]) -> str:
    lines = ["# What the links in /etc say, so that presets change nothing."]
    for name in enabled:
        lines.append(" ".join(["enable", name, *sorted(instances.get(name, ()))]))
    return "\n".join([*lines, "disable *"]) + "\n"


def read_instances(root: Path) -> dict[str, set[str]]:
    """Template to the instances of it that are enabled."""
    found: dict[str, set[str]] = {}
    for link in read_links(root):
        match = _INSTANCE.fullmatch(link.rpartition("/")[2])
        if match:
            template = f"{match.group(1)}{match.group(3)}"
            found.setdefault(template, set()).add(match.group(2))
    return found


def read_links(root: Path) -> set[str]:
    """Every link below the tree's /etc/systemd/system."""
    base = root / "etc/systemd/system"
    return {f"/{path.relative_to(root)}" for path in base.rglob("*") if path.is_symlink()}


def drop_dangling(root: Path) -> tuple[str, ...]:
    """Remove links that would want or require a unit that is not there."""
    dropped = []
    for kind in ("system", "user"):
        for directory in sorted((root / "etc/systemd" / kind).glob("*")):
            if not _WANTS.fullmatch(directory.name):
                continue
            for link in sorted(directory.iterdir()):
                if link.is_symlink() and not _has_unit(root, kind, link.name):
                    link.unlink()
                    dropped.append(f"/{link.relative_to(root)}")
            if not any(directory.iterdir()):
                directory.rmdir()
    return tuple(dropped)


def _has_unit(root: Path, kind: str, name: str) -> bool:
    match = _INSTANCE.fullmatch(name)
    names = [name, f"{match.group(1)}{match.group(3)}"] if match else [name]
    places = (f"etc/systemd/{kind}", f"usr/lib/systemd/{kind}")
    return any(
        path.exists() or path.is_symlink()
        for place in places
        for path in (root / place / each for each in names)
    ) or any((root / "etc/init.d" / name.removesuffix(".service")).exists() for name in names)
