"""``[units]``: enable, disable and mask units, and write drop-ins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import RecipeError
from atoll.builder.steps.in_root import FileToWrite, LinkToWrite, run_inside, write_files
from atoll.builder.steps.unit_links import UnitLinks, full_name
from atoll.host.in_root import exists_in_root, read_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from atoll.recipe.model import Units

ALWAYS_MASKED = (
    "apt-daily.service",
    "apt-daily.timer",
    "apt-daily-upgrade.service",
    "apt-daily-upgrade.timer",
    "unattended-upgrades.service",
    "dpkg-db-backup.timer",
    # these rebuild files that are part of the tree, and would leave copies in the machine's /etc
    "ldconfig.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
)
"""Units that would change packages, or rebuild files of the tree, on a running machine."""

_DROPIN = "50-recipe.conf"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUnits:
    """Set the units as the recipe says. It runs after the steps that may write unit files."""

    units: Units
    title: str = "Enabling units"

    def parts(self) -> tuple[str, ...]:
        return ("units 3", repr(self.units), repr(ALWAYS_MASKED))

    def execute(self, root: Path, workspace: Path) -> None:
        if not exists_in_root(root, "usr/bin/systemctl"):
            raise RecipeError(
                "systemd is not installed",
                key="packages.install",
                hint="add the package systemd-sysv",
            )
        units = self.units
        if units.dropins:
            write_files(root, plan_dropins(root, units), workspace=workspace, key="units.dropins")
        present = tuple(
            name for name in ALWAYS_MASKED if exists_in_root(root, f"usr/lib/systemd/system/{name}")
        )
        wanted = (
            _Wanted(
                kind="system",
                enable=units.enable,
                disable=units.disable,
                mask=(*units.mask, *present),
            ),
            _Wanted(
                kind="user",
                enable=units.user_enable,
                disable=units.user_disable,
                mask=units.user_mask,
            ),
        )
        for each in wanted:
            set_units(root, each, workspace)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The units of one kind (``system`` or ``user``) to enable, disable and mask."""

    kind: str
    enable: tuple[str, ...]
    disable: tuple[str, ...]
    mask: tuple[str, ...]

    def key(self, verb: str) -> str:
        return f"units.{'user.' if self.kind == 'user' else ''}{verb}"


def set_units(root: Path, wanted: _Wanted, workspace: Path) -> None:
    """Enable, disable and mask units, whatever other units have in ``Also=``.

    systemctl enables and disables the units in ``Also=`` together with a unit. So units are
    disabled first and enabled second; then links of units to disable, which enabling may have made
    again, are removed one by one.
    """
    links = UnitLinks(root, wanted.kind)
    enable = [full_name(name) for name in wanted.enable]
    masked = [name for name in enable if links.is_masked(name)]
    _systemctl(root, "unmask", masked, wanted, key="enable")
    _systemctl(root, "disable", (*wanted.disable, *wanted.mask), wanted)
    _systemctl(root, "enable", wanted.enable, wanted)
    links = UnitLinks(root, wanted.kind)
    for name in (*wanted.disable, *wanted.mask):
        for link in links.etc_links(full_name(name)):
            if link.name not in enable:
                link.unlink(missing_ok=True)
    # not by systemctl mask: it refuses if the unit's file is in /etc
    masks = [
        LinkToWrite(path=f"/etc/systemd/{wanted.kind}/{full_name(name)}", target="/dev/null")
        for name in wanted.mask
    ]
    if masks:
        write_files(root, masks, workspace=workspace, key=wanted.key("mask"))


def plan_dropins(root: Path, units: Units) -> list[FileToWrite]:
    """The drop-in files to write. What the recipe of the base wrote for a unit stays, before what
    this recipe adds."""
    files = []
    for unit, text in units.dropins:
        path = f"/usr/lib/systemd/system/{unit}.d/{_DROPIN}"
        before = read_text(root, path, missing="")
        files.append(FileToWrite(path=path, content=f"{before}{text}".encode()))
    return files


def _systemctl(
    root: Path, verb: str, names: Iterable[str], wanted: _Wanted, *, key: str | None = None
) -> None:
    scope = ["--global"] if wanted.kind == "user" else []
    for name in names:
        run_inside(
            root,
            ["systemctl", *scope, "--no-reload", verb, "--", name],
            key=wanted.key(key or verb),
            what=f"systemctl cannot {verb} {name}",
        )
