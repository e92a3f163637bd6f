"""Preset files that agree with the links in the tree's ``/etc/systemd`` (systemd.preset(5)).

There is one for system units and one for units of the user manager. systemd applies presets at a
machine's first boot, and ``systemctl preset-all`` applies them on request; with these files neither
changes anything. An enabled template lists its instances. Two kinds of units get ``ignore``: one
that has an alias link in ``/etc`` but cannot be enabled (gdm.service as display-manager.service),
because ``disable`` would remove the alias; and one whose ``Also=`` names a disabled unit, because
``enable`` would enable that one too.
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
"""The kinds of units, by the names of their directories, and systemctl's option for each."""
PRESET = "usr/lib/systemd/{}-preset/00-atoll.preset"
"""The preset file for a kind of units."""
_WANTS = re.compile(r".+\.(wants|requires|upholds)")
_INSTANCE = re.compile(r"([^@]+@)([^@]+)(\.[a-z]+)")


def write_presets(root: Path) -> tuple[str, ...]:
    """Remove dangling links, write the preset files and apply them once; the links that changed.

    Applying them completes units that a package enabled only in part, so that applying them again
    on a machine changes nothing.
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
    """The text of a preset file. ``instances`` maps templates to their enabled instances: such a
    template need not be among the ``enabled`` units. ``renamed`` and ``partial`` units are ignored.
    """
    lines = ["# What the links in /etc say, so that presets change nothing."]
    enabled = {*enabled, *instances} - {*partial}
    for name in sorted(enabled):
        lines.append(" ".join(["enable", name, *sorted(instances.get(name, ()))]))
    lines += [f"ignore {name}" for name in sorted({*renamed, *partial} - enabled)]
    return "\n".join([*lines, "disable *"]) + "\n"


def read_instances(root: Path, kind: str = "system") -> dict[str, set[str]]:
    """Maps each template to its enabled instances."""
    found: dict[str, set[str]] = {}
    for link in read_links(root, kind):
        match = _INSTANCE.fullmatch(link.rpartition("/")[2])
        if match:
            template = f"{match.group(1)}{match.group(3)}"
            found.setdefault(template, set()).add(match.group(2))
    return found


def read_renamed(root: Path, kind: str = "system") -> set[str]:
    """Units that have an alias: a link directly in /etc/systemd/system, or in that of ``kind``."""
    folder = f"etc/systemd/{kind}"
    links = [
        f"{folder}/{path.name}" for path in glob_in_root(root, folder, "*.*") if path.is_symlink()
    ]
    units = (in_root(root, link) for link in links if exists_in_root(root, link))
    return {unit.name for unit in units if unit.is_file()}


def read_partial(root: Path, kind: str, enabled: Iterable[str]) -> set[str]:
    """Enabled units whose ``Also=`` names a disabled unit, which presets would enable too."""
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
    """All symbolic links below /etc/systemd/system, or that of ``kind``."""
    base = in_root(root, f"etc/systemd/{kind}")
    return {f"/{path.relative_to(root)}" for path in base.rglob("*") if path.is_symlink()}


def drop_dangling(root: Path) -> tuple[str, ...]:
    """Remove links in .wants, .requires and .upholds directories to units that do not exist."""
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
    folders = (f"etc/systemd/{kind}", f"usr/lib/systemd/{kind}")
    return any(
        os.path.lexists(in_root(root, f"{folder}/{each}", follow=False))
        for folder in folders
        for each in names
    ) or any(exists_in_root(root, f"etc/init.d/{name.removesuffix('.service')}") for name in names)
