"""A pulled plug condemns no version, and damage to a system that was good once gives way.

One machine lives through it, in order. It has booted well once and follows an image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .test_fallback import TRIES, by_version, leave_tries

if TYPE_CHECKING:
    from vmtest import Machine

    from .image_registry import ImageRegistry

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network]


def test_pulled_plugs_condemn_nothing(
    machine: Machine, registry: ImageRegistry, request: pytest.FixtureRequest
) -> None:
    registry.build("6")
    machine.succeed("atoll upgrade", timeout=900)
    tries = TRIES if request.config.getoption("--long") else 1
    if tries < TRIES:
        leave_tries(machine, tries)
    machine.reboot()
    for _ in range(tries):
        machine.wait_for_shell()
        machine.power_cut()
        machine.start()
    machine.wait_for_system()
    state = by_version(machine)
    assert state["1"]["booted"] and not state["6"]["held"]
    assert "atoll upgrade tries it again" in machine.succeed("cat /run/motd.d/50-atoll")


def test_what_changed_after_staging_comes_along(machine: Machine) -> None:
    """The unproven version again: this time the plug is pulled before its first boot, and once in
    it; what was changed in between is in the new system as well."""
    machine.succeed("atoll upgrade", timeout=900)
    machine.succeed(
        "echo atoll:changed | chpasswd",
        "mkdir -p /etc/NetworkManager/system-connections",
        "echo key > /etc/NetworkManager/system-connections/home",
        "chmod 600 /etc/NetworkManager/system-connections/home",
        "sync",
    )
    shadow = machine.succeed("grep ^atoll: /etc/shadow")
    machine.power_cut()
    machine.start()
    machine.wait_for_console_text("Mount the Atoll tree")
    machine.power_cut()
    machine.start()
    machine.wait_for_system()
    state = by_version(machine)
    assert state["6"]["booted"] and state["6"]["default"] and state["6"]["blessed"]
    assert machine.succeed("grep ^atoll: /etc/shadow") == shadow
    place = "/etc/NetworkManager/system-connections/home"
    assert machine.succeed(f"cat {place}; stat -c %a {place}") == "key\n600\n"
    number = state["6"]["number"]
    machine.fail(f"test -e /sysroot/atoll/deployments/{number}/etc/merged-from")
    machine.fail("test -e /run/motd.d/50-atoll -o -e /run/atoll/notes")
    assert machine.succeed("ls /boot/loader/entries").count("+") == 0


@pytest.mark.long
def test_a_damaged_system_that_was_good_once_gives_way(machine: Machine) -> None:
    """Its entry is not counted, so early boot itself asks for another one."""
    tree = by_version(machine)["6"]["tree"]
    machine.succeed(
        "unshare -m sh -ec 'mount -o remount,rw /sysroot; cd /sysroot/atoll/images;"
        f" head -c 8192 {tree} > new; mv new {tree}; sync'"
    )
    machine.power_cut()
    machine.start()
    machine.wait_for_reboot(timeout=900)
    machine.wait_for_system()
    runs = next(each for each in by_version(machine).values() if each["booted"])
    assert runs["version"] == "1" and not runs["default"]
    told = machine.succeed("cat /run/motd.d/50-atoll")
    assert "did not boot" in told and f"atoll rollback {runs['number']}" in told
    assert "did not boot" in " ".join(machine.console.text().split())
    machine.succeed(f"atoll rollback {runs['number']}")
    machine.reboot()
    machine.wait_for_system()
    (now,) = [each for each in by_version(machine).values() if each["booted"]]
    assert now["number"] == runs["number"] and now["default"]
