"""No boot stands for ever: slow machines come up, and a systemd that gives up starts again."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from vmtest import Disk, Machine, MachineSpec

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Built

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network, pytest.mark.long]

SLOW_DISK = 2 << 20
"""Bytes a second: an old USB stick."""
HANG = "#!/bin/sh\nsleep infinity\n"
GENERATORS = "/etc/systemd/system-generators"


def came_up(machine: Machine) -> None:
    machine.wait_for_system()
    machine.succeed(
        "test -e /sysroot/atoll/state/blessed/1", "test ! -e /sysroot/atoll/state/tries/1"
    )


def test_a_first_boot_from_a_slow_disk_comes_up(hello: Built, tmp_path: Path) -> None:
    disk = Disk(image=hello.disk, bytes_per_second=SLOW_DISK)
    with Machine(MachineSpec(disks=(disk,)), tmp_path / "machine") as machine:
        machine.start()
        came_up(machine)


@pytest.mark.skipif(shutil.which("cpulimit") is None, reason="needs cpulimit")
def test_a_first_boot_with_half_a_processor_comes_up(hello: Built, tmp_path: Path) -> None:
    spec = MachineSpec(disks=(Disk(image=hello.disk),))
    with Machine(spec, tmp_path / "machine") as machine:
        machine.start()
        limit = subprocess.Popen(
            ["cpulimit", "--pid", str(machine.pid), "--limit", "50"], stdout=subprocess.DEVNULL
        )
        try:
            came_up(machine)
        finally:
            limit.terminate()
            limit.wait()


def test_a_systemd_that_gives_up_starts_the_machine_again(hello: Built, tmp_path: Path) -> None:
    """A generator that never ends: after 90 seconds systemd cannot go on."""
    spec = MachineSpec(disks=(Disk(image=hello.disk),))
    with Machine(spec, tmp_path / "machine") as machine:
        machine.start()
        came_up(machine)
        machine.succeed(
            f"mkdir -p {GENERATORS}",
            f"printf '{HANG}' > {GENERATORS}/hang",
            f"chmod 755 {GENERATORS}/hang; sync",
        )
        machine.reboot()
        machine.wait_for_reboot()
        assert "Failed to start up manager" in machine.console.path.read_text(errors="replace")
