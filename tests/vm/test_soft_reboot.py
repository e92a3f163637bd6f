"""A machine starts a new version without a new kernel, and reboots when that is not healthy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from .image_registry import TWO, find_deployment
from .test_fallback import UNHEALTHY

if TYPE_CHECKING:
    from vmtest import Machine

    from .image_registry import ImageRegistry

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network, pytest.mark.long]

SOFT = "atoll upgrade --soft-reboot"
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"


def test_only_user_space_starts_again(machine: Machine, registry: ImageRegistry) -> None:
    built = registry.build("2", TWO)
    told = machine.succeed("atoll upgrade 2>&1", timeout=900)
    assert "boots next: systemctl reboot" in told
    boot = machine.succeed(BOOT_ID)
    # After staging: the first start merges it, whatever kind of start it is.
    machine.succeed("echo mine > /etc/mine.conf", "echo kept > /var/lib/kept")
    machine.soft_reboot(SOFT)
    machine.wait_for_system()
    assert machine.succeed(BOOT_ID) == boot
    assert machine.succeed("systemctl show -P SoftRebootsCount").strip() == "1"
    assert machine.succeed("cat /etc/two.conf /etc/mine.conf /var/lib/kept") == "two\nmine\nkept\n"
    assert built.tree in machine.succeed("cat /run/atoll/booted")
    assert machine.succeed("atoll tree digest /run/atoll/tree").strip() == built.tree
    machine.succeed("dpkg -s atoll", "test -d /sysroot/atoll/deployments")
    machine.fail("touch /usr/x")
    machine.fail("touch /sysroot/x")


def test_a_healthy_start_is_blessed_as_after_a_reboot(machine: Machine) -> None:
    machine.wait_until_succeeds("test -e /sysroot/atoll/state/blessed/2", timeout=900)
    found = find_deployment(machine)
    assert found["version"] == "2" and found["default"] and found["blessed"]
    assert machine.succeed("systemctl --failed --no-legend").strip() == ""
    events = json.loads(machine.succeed("atoll history --json"))
    assert json.dumps(events).count('"boot"') >= 2
    machine.fail("test -e /run/motd.d/60-atoll-update")


def test_a_live_change_and_a_second_soft_reboot_work_after_it(
    machine: Machine, registry: ImageRegistry
) -> None:
    registry.build("3", TWO.replace("two\\n", "three\\n"))
    machine.succeed("atoll upgrade --live", timeout=900)
    assert machine.succeed("cat /etc/two.conf") == "three\n"
    assert machine.execute(SOFT)[0] in (11, 77)
    machine.succeed("atoll cancel")
    machine.succeed("atoll upgrade", timeout=900)
    machine.soft_reboot(SOFT)
    machine.wait_for_system()
    assert find_deployment(machine)["version"] == "3"
    assert machine.succeed("systemctl show -P SoftRebootsCount").strip() == "2"


def test_one_that_is_not_healthy_reboots_and_the_loader_counts(
    machine: Machine, registry: ImageRegistry
) -> None:
    registry.build("4", UNHEALTHY)
    machine.succeed("atoll upgrade", timeout=900)
    machine.soft_reboot(SOFT)
    machine.wait_for_reboot(timeout=1800)
    machine.wait_for_shell()
    assert "+2-1" in machine.succeed("ls /boot/loader/entries")
    reasons = machine.succeed("cat /sysroot/atoll/state/tries/*/1-failed")
    assert "the web server does not answer" in reasons
