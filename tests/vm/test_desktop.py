"""A graphical system: the desktop example boots to its greeter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vmtest import Disk, Display, Machine, MachineSpec

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Built

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network, pytest.mark.long]


def test_boots_to_its_greeter(desktop: Built, tmp_path: Path) -> None:
    spec = MachineSpec(disks=(Disk(image=desktop.disk),), memory=2048, display=Display.STD)
    with Machine(spec, tmp_path / "machine") as machine:
        machine.start()
        machine.wait_until_succeeds("systemctl is-active graphical.target", timeout=600)
        machine.wait_until_succeeds("pgrep -f greeter", timeout=300)
        machine.wait_for_screen(colours=33, timeout=300)
        machine.screenshot(tmp_path / "greeter.png")
        assert machine.succeed("systemctl --failed --no-legend").strip() == ""
