"""Which links enable a unit: a mask is none, and leads to the same place as every other mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.builder.steps.unit_links import UnitLinks

if TYPE_CHECKING:
    from pathlib import Path


def test_masks_of_other_units_are_no_names_of_a_masked_one(tmp_path: Path) -> None:
    etc = tmp_path / "etc/systemd/system"
    (etc / "multi-user.target.wants").mkdir(parents=True)
    for name in ("one.service", "two.service"):
        (etc / name).symlink_to("/dev/null")
    wanted = etc / "multi-user.target.wants/one.service"
    wanted.symlink_to("/usr/lib/systemd/system/one.service")
    assert UnitLinks(tmp_path, "system").etc_links("one.service") == [wanted]
    assert UnitLinks(tmp_path, "system").etc_links("two.service") == []
