"""A bad version gives way by itself and says why.

Each story begins at a machine that has booted well once and follows an image.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from .image_registry import deployments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vmtest import Machine

    from .conftest import Ready
    from .image_registry import ImageRegistry

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network]

TRIES = 3
CONSOLES = 'args = ["console=tty0"'
NO_INITRD = {CONSOLES: f'{CONSOLES}, "initcall_blacklist=populate_rootfs"'}
BROKEN_INITRD = """
[[file]]
path = "/etc/dracut.conf.d/broken.conf"
text = 'omit_drivers+=" erofs "'
"""
UNHEALTHY = """
[[file]]
path = "/etc/atoll/health.d/50-web"
mode = "0755"
text = '''
#!/bin/sh
echo the web server does not answer >&2
exit 1
'''
"""
PANICS = """
[[file]]
path = "/usr/lib/systemd/system/panics.service"
text = '''
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger'
[Install]
WantedBy=multi-user.target
'''
"""
NO_DISK = """
[[file]]
path = "/usr/lib/systemd/system/no-disk.service"
text = '''
[Unit]
DefaultDependencies=no
Before=local-fs.target
[Service]
Type=oneshot
ExecStart=/bin/false
[Install]
RequiredBy=local-fs.target
'''
"""


def enabled(unit: str) -> dict[str, str]:
    return {"enable = [": f'enable = ["{unit}", '}


@pytest.fixture
def machine(ready: Ready, registry: ImageRegistry, tmp_path: Path) -> Iterator[Machine]:
    with ready.following(registry, tmp_path) as machine:
        yield machine


def by_version(machine: Machine) -> dict[str, dict[str, object]]:
    """Of a version that was staged more than once, the newest deployment."""
    return {each["version"]: each for each in reversed(deployments(machine))}


def leave_tries(machine: Machine, tries: int) -> None:
    """As if the entry that was just staged had been tried before, and ``tries`` were left."""
    used = TRIES - tries
    entries = "/boot/loader/entries"
    machine.succeed(
        # Mounted on demand, and for two minutes only.
        f"ls {entries}",
        "unshare -m sh -ec 'mount -o remount,rw /dev/vda1 /boot; "
        f"for entry in {entries}/*+{TRIES}.conf; do mv $entry ${{entry%%+*}}+{tries}-{used}.conf; "
        "done; sync'",
    )


def upgrade_that_fails(machine: Machine, *, tries: int = TRIES) -> None:
    """Stage what is offered, and let its last ``tries`` tries end by themselves."""
    machine.succeed("atoll upgrade", timeout=900)
    if tries < TRIES:
        leave_tries(machine, tries)
    machine.reboot()
    for _ in range(tries):
        machine.wait_for_reboot(timeout=900)
    machine.wait_for_system()


def comes_back_and_says(machine: Machine, version: str, why: str) -> None:
    """Version 1 runs, ``version`` is held, and a person reads why."""
    state = by_version(machine)
    assert state["1"]["booted"] and state["1"]["default"]
    assert state[version]["held"] and why in str(state[version]["why_held"])
    told = machine.succeed("cat /run/motd.d/50-atoll")
    assert f"hello {version} " in told and "failed to boot; hello 1 (1) is running." in told
    assert why in told
    machine.wait_for_login_prompt()
    assert why in " ".join(machine.console.text().split())
    assert machine.execute("atoll upgrade")[0] == 11


def test_a_good_first_boot_is_blessed(machine: Machine) -> None:
    machine.succeed("test -e /sysroot/atoll/state/blessed/1")
    machine.fail("test -e /run/atoll/unblessed -o -e /run/motd.d/50-atoll")
    health = json.loads(machine.succeed("atoll health --json"))
    assert health["healthy"] and health["tries"] == [] and health["held"] == []
    assert "ordering cycle" not in machine.succeed("journalctl -b -q _PID=1")


@pytest.mark.long
def test_a_kernel_that_panics_gives_way(machine: Machine, registry: ImageRegistry) -> None:
    built = registry.build("2", changes=NO_INITRD)
    upgrade_that_fails(machine)
    comes_back_and_says(machine, "2", "its kernel or initrd did not start in 3 boot attempts")
    held = json.loads(machine.succeed("atoll health --json"))["held"]
    assert [each["tree"] for each in held] == [built.tree]


@pytest.mark.long
def test_a_broken_initrd_gives_way(machine: Machine, registry: ImageRegistry) -> None:
    built = registry.build("3", BROKEN_INITRD)
    upgrade_that_fails(machine)
    comes_back_and_says(machine, "3", f"the image of tree {built.tree} cannot be mounted")


def test_a_failed_health_check_gives_way(
    machine: Machine, registry: ImageRegistry, request: pytest.FixtureRequest
) -> None:
    """Each try is a whole boot: without --long the machine is taken to have had two of them."""
    registry.build("4", UNHEALTHY)
    upgrade_that_fails(machine, tries=TRIES if request.config.getoption("--long") else 1)
    comes_back_and_says(
        machine, "4", "health check 50-web failed: exit status 1: the web server does not answer"
    )


@pytest.mark.long
def test_a_panic_in_the_running_system_gives_way(machine: Machine, registry: ImageRegistry) -> None:
    registry.build("5", PANICS, changes=enabled("panics.service"))
    upgrade_that_fails(machine)
    comes_back_and_says(machine, "5", "its kernel panicked: sysrq triggered crash")


@pytest.mark.long
def test_an_emergency_shell_gives_way(machine: Machine, registry: ImageRegistry) -> None:
    registry.build("5b", NO_DISK, changes=enabled("no-disk.service"))
    upgrade_that_fails(machine)
    comes_back_and_says(machine, "5b", "the boot ended in the emergency shell")
