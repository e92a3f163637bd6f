"""A live change on a machine far away: what nobody confirms goes, with and without a reboot."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from .image_registry import TWO, find_deployment

if TYPE_CHECKING:
    from vmtest import Machine

    from .image_registry import ImageRegistry

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network, pytest.mark.long]


@pytest.fixture(scope="module")
def machine(machine: Machine, registry: ImageRegistry) -> Machine:
    registry.build("2", TWO)
    return machine


def test_it_is_taken_back_by_itself_without_a_reboot(machine: Machine) -> None:
    boot = machine.succeed("cat /proc/sys/kernel/random/boot_id")
    # The session that asked ends at once, as a connection does that the change cuts off.
    machine.succeed("systemd-run --quiet --collect atoll upgrade --live --confirm 5m", timeout=900)
    machine.wait_until_succeeds("test -e /etc/two.conf", timeout=900)
    machine.succeed("systemctl is-active atoll-go-back.timer")
    assert (
        find_deployment(machine, "default")["version"] == "1"
        and find_deployment(machine, "running")["held"]
    )
    machine.succeed("systemctl daemon-reexec")
    machine.wait_until_succeeds("test ! -e /etc/two.conf", timeout=900)
    machine.wait_until_succeeds("grep 'was not confirmed' /run/motd.d/50-atoll", timeout=300)
    assert machine.succeed("cat /proc/sys/kernel/random/boot_id") == boot
    assert json.loads(machine.succeed("atoll status --json"))["confirm"]["left"] is None
    assert machine.succeed("systemctl --failed --no-legend").strip() == ""


def test_switched_off_and_on_it_is_the_older_version(machine: Machine) -> None:
    machine.succeed("atoll upgrade --even-held --live --confirm 1h", timeout=900)
    machine.succeed("test -e /etc/two.conf")
    machine.power_cut()
    machine.start()
    machine.wait_for_system()
    assert (
        find_deployment(machine, "booted")["version"] == "1"
        and find_deployment(machine, "default")["booted"]
    )
    assert "was not confirmed" in machine.succeed("cat /run/motd.d/50-atoll")
    assert machine.execute("atoll upgrade")[0] == 11


def test_confirmed_it_stays(machine: Machine) -> None:
    machine.succeed("atoll upgrade --even-held --live --confirm 1h", timeout=900)
    machine.succeed("atoll confirm")
    machine.fail("systemctl is-active atoll-go-back.timer")
    machine.reboot()
    machine.wait_for_system()
    assert find_deployment(machine, "booted")["version"] == "2"
    machine.wait_until_succeeds("atoll status --json | grep -q '\"blessed\": true'", timeout=600)
    assert machine.execute("atoll confirm")[0] == 77
