"""``[units]``: what systemd starts, what it does not, and changes to single units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import RecipeError
from atoll.recipe.steps.inside import Placed, put_files, run_inside

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
    # these rebuild what the tree brings along, and would leave it behind in the machine's /etc
    "ldconfig.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
)
"""Units that change packages, or what belongs to the tree, on a running machine."""

_DROPIN = "50-recipe.conf"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUnits:
    """By the links that systemctl makes, after all files are there that may be units."""

    units: Units
    title: str = "Enabling units"

    def parts(self) -> tuple[str, ...]:
        return ("units 2", repr(self.units), repr(ALWAYS_MASKED))

    def execute(self, root: Path, workspace: Path) -> None:
        if not (root / "usr/bin/systemctl").exists():
            raise RecipeError("the root has no systemd", key="packages.install",
                              hint="add the package systemd-sysv")  # fmt: skip
        units = self.units
        if units.dropins:
            put_files(root, plan_dropins(root, units), workspace=workspace, key="units.dropins")
        present = [name for name in ALWAYS_MASKED
                   if (root / "usr/lib/systemd/system" / name).exists()]  # fmt: skip
        _systemctl(root, "disable", (*units.disable, *units.mask, *present))
        _systemctl(root, "enable", units.enable)
        _systemctl(root, "mask", (*units.mask, *present))
        _systemctl(root, "disable", (*units.user_disable, *units.user_mask), user=True)
        _systemctl(root, "enable", units.user_enable, user=True)
        _systemctl(root, "mask", units.user_mask, user=True)


def plan_dropins(root: Path, units: Units) -> list[Placed]:
    """What the recipe of a base says of a unit stays, and comes before what this one says."""
    placed = []
    for unit, text in units.dropins:
        path = f"/usr/lib/systemd/system/{unit}.d/{_DROPIN}"
        there = root / path[1:]
        before = there.read_text() if there.is_file() else ""
        placed.append(Placed(path=path, content=f"{before}{text}".encode()))
    return placed


def _systemctl(root: Path, verb: str, names: Iterable[str], *, user: bool = False) -> None:
    scope, key = (["--global"], f"units.user_{verb}") if user else ([], f"units.{verb}")
    for name in names:
        run_inside(root, ["systemctl", *scope, "--no-reload", verb, "--", name],
                   key=key, what=f"systemctl cannot {verb} {name}")  # fmt: skip
