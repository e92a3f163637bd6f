"""The preset files that say of a tree's units what the links in its ``/etc`` say.

One is for the system's units, one for those of users' managers. systemd applies presets on a
machine's first boot, and ``systemctl preset-all`` whenever a person asks; with these files both
change nothing. An enabled template names its instances. A unit that cannot be enabled but has
another name in ``/etc`` (gdm.service as display-manager.service) is ignored, or that name would go;
so is one whose ``Also=`` names a unit that is disabled, or that one would be enabled with it.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from atoll.builder.steps.unit_links import UnitLinks
from atoll.debian.install import package_sandbox
from atoll.host.in_root import exists_in_root, glob_in_root, in_root, write_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

PRESETS = (("system", "--system"), ("user", "--global"))
"""Kinds of units by their directories, and how systemctl is told which."""
PRESET = "usr/lib/systemd/{}-preset/00-atoll.preset"
"""The file, by the kind of units."""
_WANTS = re.compile(r".+\.(wants|requires|upholds)")
_INSTANCE = re.compile(r"([^@]+@)([^@]+)(\.[a-z]+)")


def write_presets(root: Path) -> tuple[str, ...]:
    """Drop dangling links, write the preset file and apply it once; says which links that changed.

    Applying it makes what a package enabled only in part whole, so that the next time changes
    nothing.
    """
    drop_dangling(root)
    changed: set[str] = set()
    for kind, option in PRESETS:
        listing = package_sandbox(root).run(
            [
                "systemctl",
                "list-unit-files",
                option,
                "--root=/",
                "--full",
                "--no-legend",
                "--no-pager",
            ]
        )
        enabled = parse_enabled(listing.decode())
        left = read_renamed(root, kind), read_partial(root, kind, enabled)
        text = format_presets(enabled, read_instances(root, kind), *left)
        write_text(root, PRESET.format(kind), text)
        before = read_links(root, kind)
        package_sandbox(root).run(["systemctl", "--no-reload", option, "--root=/", "preset-all"])
        changed |= before ^ read_links(root, kind)
    return tuple(sorted(changed))


def parse_enabled(listing: str) -> tuple[str, ...]:
    """The enabled units in what ``systemctl list-unit-files`` prints."""
    rows = (line.split() for line in listing.splitlines())
    return tuple(sorted(row[0] for row in rows if len(row) > 1 and row[1] == "enabled"))


def format_presets(
    enabled: Iterable[str],
    instances: Mapping[str, Iterable[str]],
    renamed: Iterable[str] = (),
    partial: Collection[str] = (),
) -> str:
    """A template that is enabled for some instances only is not among the ``enabled`` units."""
    lines = ["# What the links in /etc say, so that presets change nothing."]
    enabled = {*enabled, *instances} - {*partial}
    for name in sorted(enabled):
        lines.append(" ".join(["enable", name, *sorted(instances.get(name, ()))]))
    lines += [f"ignore {name}" for name in sorted({*renamed, *partial} - enabled)]
    return "\n".join([*lines, "disable *"]) + "\n"


def read_instances(root: Path, kind: str = "system") -> dict[str, set[str]]:
    """Template to the instances of it that are enabled."""
    found: dict[str, set[str]] = {}
    for link in read_links(root, kind):
        match = _INSTANCE.fullmatch(link.rpartition("/")[2])
        if match:
            template = f"{match.group(1)}{match.group(3)}"
            found.setdefault(template, set()).add(match.group(2))
    return found


def read_renamed(root: Path, kind: str = "system") -> set[str]:
    """Units to which links directly in /etc/systemd give another name."""
    folder = f"etc/systemd/{kind}"
    links = [
        f"{folder}/{path.name}" for path in glob_in_root(root, folder, "*.*") if path.is_symlink()
    ]
    units = (in_root(root, link) for link in links if exists_in_root(root, link))
    return {unit.name for unit in units if unit.is_file()}


def read_partial(root: Path, kind: str, enabled: Iterable[str]) -> set[str]:
    """Enabled units that name one in ``Also=`` which is not enabled: presets would enable it."""
    links = UnitLinks(root, kind)
    return {
        name
        for name in enabled
        if any(
            links.file(each) and not links.is_masked(each) and not links.is_enabled(each)
            for each in links.also(name)
        )
    }


def read_links(root: Path, kind: str = "system") -> set[str]:
    """Every link below the tree's /etc/systemd/system, or that of another kind of units."""
    base = in_root(root, f"etc/systemd/{kind}")
    return {f"/{path.relative_to(root)}" for path in base.rglob("*") if path.is_symlink()}


def drop_dangling(root: Path) -> tuple[str, ...]:
    """Remove links that would want or require a unit that is not there."""
    dropped = []
    for kind in ("system", "user"):
        for directory in glob_in_root(root, f"etc/systemd/{kind}", "*"):
            if directory.is_symlink() or not _WANTS.fullmatch(directory.name):
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
        os.path.lexists(in_root(root, f"{place}/{each}", follow=False))
        for place in places
        for each in names
    ) or any(exists_in_root(root, f"etc/init.d/{name.removesuffix('.service')}") for name in names)
