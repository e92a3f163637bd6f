"""A disk image on a larger disk, and what an ordinary user of that machine can see."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from vmtest import Disk, Machine, MachineSpec, Writes

from .conftest import STORE, atoll

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Built

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network]

GIB = 1 << 30
SIZE = 16 * GIB
AS_USER = "setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs -- sh -c '{}'"
SECRETS = ("/etc/shadow", "/usr/lib/atoll/recipe.toml")


def state_size(machine: Machine) -> int:
    return int(machine.succeed("df --block-size=1 --output=size /var | tail -1"))


@pytest.mark.long
def test_the_state_partition_fills_its_disk_and_nobody_sees_more_than_before(
    hello: Built, tmp_path: Path
) -> None:
    disk = tmp_path / "large.img"
    atoll("disk", hello.tree, disk, "--store", STORE)
    with disk.open("r+b") as file:
        file.truncate(SIZE)
    spec = MachineSpec(disks=(Disk(image=disk, writes=Writes.DIRECT),))
    with Machine(spec, tmp_path / "machine") as machine:
        machine.start()
        machine.wait_for_system()
        # Grown: the file system, the partition and the table that firmware reads.
        assert state_size(machine) > SIZE * 9 // 10 - GIB
        assert machine.succeed("systemctl is-system-running").strip() == "running"
        machine.fail("test -e /sysroot/atoll/state/growing")
        _nobody_sees_more(machine)
        # In the middle of it: the mark is there, and what was done is not all.
        machine.succeed(
            "unshare -m sh -ec 'mount -o remount,bind,rw /sysroot; "
            ": > /sysroot/atoll/state/growing; sync'"
        )
        machine.power_cut()
        machine.start()
        machine.wait_for_system()
        machine.fail("test -e /sysroot/atoll/state/growing")
        assert state_size(machine) > SIZE * 9 // 10 - GIB


def _nobody_sees_more(machine: Machine) -> None:
    """What an ordinary user reads of the system, and what not."""
    machine.succeed(AS_USER.format("cat /usr/bin/bash /etc/passwd /etc/os-release > /dev/null"))
    machine.succeed(AS_USER.format("ls /usr /etc /var /home > /dev/null"))
    for path in SECRETS:
        machine.fail(AS_USER.format(f"cat {path}"))
    machine.fail(AS_USER.format("ls /sysroot/atoll"))
    machine.fail(AS_USER.format("ls /sysroot/atoll/objects/00"))
    assert machine.succeed("stat -c %a /sysroot/atoll").strip() == "700"
    assert machine.succeed("stat -c %a /etc /var").split() == ["755", "755"]
    seen = json.loads(machine.succeed(AS_USER.format("atoll status --json")))
    roots = json.loads(machine.succeed("atoll status --json"))
    assert seen == roots
    assert "booted" in machine.succeed(AS_USER.format("atoll"))
    assert "follows no image" in machine.fail(AS_USER.format("atoll plan 2>&1"))
