"""A machine that a person has lived on starts anew, and what there was goes once it is healthy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from vmtest import Machine

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network, pytest.mark.long]


def test_a_reset_keeps_everything_until_the_new_system_was_healthy(booted: Machine) -> None:
    host_key = booted.succeed("cat /etc/ssh/ssh_host_ed25519_key.pub")
    machine_id = booted.succeed("cat /etc/machine-id")
    booted.succeed(
        "echo mine > /home/atoll/letter && echo mine >> /etc/motd && echo x > /opt/x",
        "echo state > /var/lib/mine && useradd --create-home ada",
    )
    shown = booted.succeed("atoll reset --yes")
    assert "/etc/motd" in shown and "/home" in shown
    # Nothing has changed for what runs.
    booted.succeed("cat /home/atoll/letter /opt/x /var/lib/mine && grep -q mine /etc/motd")
    booted.reboot()
    booted.wait_for_system()
    booted.succeed("systemctl is-system-running --wait", "grep -q mine /etc/motd && exit 1 || true")
    assert booted.succeed("ls /home").split() == ["ada", "atoll"]
    booted.fail("ls /home/atoll/letter /opt/x /var/lib/mine")
    booted.succeed("su atoll -c 'touch ~/fresh'", "su ada -c 'touch ~/fresh'")
    assert booted.succeed("cat /etc/ssh/ssh_host_ed25519_key.pub") == host_key
    assert booted.succeed("cat /etc/machine-id") == machine_id


def test_once_it_was_healthy_nothing_of_before_is_left(booted: Machine) -> None:
    booted.wait_until_succeeds("test ! -e /sysroot/atoll/deployments/2/var")
    (deployment,) = json.loads(booted.succeed("atoll status --json"))["deployments"]
    assert deployment["number"] == 2 and deployment["booted"] and deployment["blessed"]
    booted.fail("ls /sysroot/atoll/removed-var /sysroot/atoll/var/lib/mine")
    booted.succeed("echo later > /var/lib/later")
    booted.reboot()
    booted.wait_for_system()
    booted.succeed("cat /var/lib/later /home/ada/fresh", "atoll health")
    assert booted.succeed("systemctl --failed --no-legend").strip() == ""
