"""A new machine comes up whatever it lacks: a clock, a network, a keyboard. It has swap, its disk
is trimmed, and when it is not healthy it says why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from vmtest import Disk, Machine, MachineSpec

from .conftest import build

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Built

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network, pytest.mark.long]

TRIES = 3
BARE = ("-machine", "i8042=off")
"""No keyboard; that there is no network is the default of a machine."""
SWAP = {'    "nano",': '    "nano",\n    "systemd-zram-generator",'}
FILE = '[[file]]\npath = "/etc/motd"'
UNHEALTHY = f"""
[[health.check]]
name = "50-web"
text = "echo the shop is closed >&2; exit 1"

{FILE}"""


@pytest.mark.parametrize("clock", ["1999-12-31T23:59:58", "2035-01-01T00:00:00"])
def test_a_wrong_clock_no_network_and_no_keyboard_are_no_reason_to_hang(
    hello: Built, tmp_path: Path, clock: str
) -> None:
    spec = MachineSpec(disks=(Disk(image=hello.disk),), extra=("-rtc", f"base={clock}", *BARE))
    with Machine(spec, tmp_path / "machine") as machine:
        machine.start()
        assert machine.wait_for_system() == "running"
        assert machine.succeed("systemctl --failed --no-legend").strip() == ""
        assert machine.execute("ls /sys/bus/serio/devices")[1].strip() == ""
        assert machine.succeed("ls /sys/class/net").split() == ["lo"]
        (there,) = json.loads(machine.succeed("atoll status --json"))["deployments"]
        assert there["blessed"]
        # systemd knows when it was built: a clock before that is set forward. The later one stays:
        # only 15 years after that it would be set back.
        year = int(machine.succeed("date +%Y"))
        assert year == 2035 if clock > "2034" else 2024 < year < 2035
        machine.wait_for_login_prompt()
        # The same disk with its clock set right, from the future back.
        machine.shutdown()
    later = MachineSpec(disks=spec.disks, extra=BARE)
    with Machine(later, tmp_path / "machine") as machine:
        machine.start()
        assert machine.wait_for_system() == "running"


def test_swap_in_memory_and_a_trimmed_disk(tmp_path: Path) -> None:
    built = build("hello", tmp_path, changes=SWAP)
    with Machine(MachineSpec(disks=(Disk(image=built.disk),)), tmp_path / "machine") as machine:
        machine.start()
        assert machine.wait_for_system() == "running"
        (swap,) = machine.succeed("swapon --noheadings --bytes --show=NAME,SIZE").splitlines()
        name, size = swap.split()
        memory = int(machine.succeed("awk '/^MemTotal:/ { print $2 * 1024 }' /proc/meminfo"))
        assert name == "/dev/zram0" and 0.4 < int(size) / memory < 0.6
        assert machine.succeed("systemctl is-enabled fstrim.timer").strip() == "enabled"
        # The machine's fstab lists another file system; its own is trimmed all the same.
        machine.succeed(
            "echo 'LABEL=elsewhere /mnt ext4 noauto 0 0' >> /etc/fstab",
            "systemctl daemon-reload; systemctl start fstrim.service",
        )
        said = machine.succeed("journalctl --unit fstrim --output cat")
        state = machine.succeed("findmnt --noheadings --output SOURCE --first-only /var")
        assert f"trimmed on {state.partition('[')[0].strip()}" in said


def test_a_new_machine_that_is_not_healthy_says_why(tmp_path: Path) -> None:
    """It has nothing to fall back to: after three tries it stays up for somebody to look at."""
    built = build("hello", tmp_path, changes={FILE: UNHEALTHY})
    with Machine(MachineSpec(disks=(Disk(image=built.disk),)), tmp_path / "machine") as machine:
        machine.start()
        for _ in range(TRIES):
            machine.wait_for_reboot(timeout=900)
        machine.wait_for_system("degraded")
        why = "health check 50-web failed: exit status 1: the shop is closed"
        told = machine.succeed("cat /run/motd.d/50-atoll")
        assert "hello 1 (1) is running, but was not healthy in any boot so far." in told
        assert why in told
        machine.wait_for_login_prompt()
        assert why in " ".join(machine.console.text().split())
        assert "atoll-health.service" in machine.succeed("systemctl --failed --no-legend")
        # What was wrong is mended, the checks run again, and the deployment is blessed.
        machine.succeed(
            "mkdir -p /etc/atoll/health.d",
            "ln -s /dev/null /etc/atoll/health.d/50-web",
            "systemctl start atoll-bless.service",
        )
        (there,) = json.loads(machine.succeed("atoll status --json"))["deployments"]
        assert there["blessed"]
