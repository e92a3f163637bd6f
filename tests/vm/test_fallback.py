"""A bad version gives way by itself and says why; a good one is not condemned by a pulled plug.

One machine lives through all of it, in order: each version comes by ``atoll upgrade``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.packages import make_packages
from tests.registry_server import registry, run
from vmtest import Disk, Machine, MachineSpec, UserNetwork

from .conftest import STORE, Built, atoll, build_version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network]

HOST = "10.0.2.2"
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
echo the shop is closed >&2
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


class Story:
    """The machine, the registry that it follows, and where versions are built."""

    def __init__(self, machine: Machine, folder: Path, address: str) -> None:
        self.machine = machine
        self.folder = folder
        self.address = address

    def build(self, version: str, *additions: str, changes: dict[str, str] | None = None) -> Built:
        """From now on it is what the machine's image has become."""
        built = build_version(self.folder, version, *additions, changes=changes)
        self.offer(built)
        return built

    def offer(self, built: Built) -> None:
        run(
            "skopeo",
            "copy",
            "--quiet",
            "--dest-tls-verify=false",
            built.layout,
            f"docker://{self.address}/team/hello:stable",
        )

    def state(self) -> dict[str, dict[str, object]]:
        """By version; of one that was staged more than once, the newest deployment."""
        found = json.loads(self.machine.succeed("atoll status --json"))["deployments"]
        return {each["version"]: each for each in reversed(found)}

    def upgrade_that_fails(self) -> None:
        """Stage what is offered, and let every try of it end by itself."""
        self.machine.succeed("atoll upgrade", timeout=900)
        self.machine.reboot()
        for _ in range(TRIES):
            self.machine.wait_for_reboot(timeout=900)
        self.machine.wait_for_system()

    def comes_back_and_says(self, version: str, why: str) -> None:
        """Version 1 runs, ``version`` is held, and a person reads why."""
        state = self.state()
        assert state["1"]["booted"] and state["1"]["default"]
        assert state[version]["held"] and why in str(state[version]["why_held"])
        told = self.machine.succeed("cat /run/motd.d/50-atoll")
        assert f"hello {version} " in told and "failed to boot; hello 1 (1) is running." in told
        assert why in told
        self.machine.wait_for_login_prompt()
        assert why in " ".join(self.machine.console.text().split())
        assert self.machine.execute("atoll upgrade")[0] == 11


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("story")
    make_packages()
    with registry(folder) as address:
        first = build_version(folder, "1")
        disk = folder / "hello.img"
        host = f"{HOST}:{address.rpartition(':')[2]}"
        atoll(
            "disk",
            first.tree,
            disk,
            "--store",
            STORE,
            "--follow",
            f"docker://{host}/team/hello:stable",
        )
        spec = MachineSpec(disks=(Disk(image=disk),), network=UserNetwork())
        with Machine(spec, folder / "machine") as machine:
            machine.start()
            machine.wait_for_system()
            machine.succeed(
                "mkdir -p /etc/containers/registries.conf.d",
                f"printf '[[registry]]\\nlocation = \"{host}\"\\ninsecure = true\\n'"
                " > /etc/containers/registries.conf.d/shop.conf",
            )
            yield Story(machine, folder, address)


def test_a_good_first_boot_is_blessed(story: Story) -> None:
    machine = story.machine
    machine.succeed("test -e /sysroot/atoll/state/blessed/1")
    machine.fail("test -e /run/atoll/unblessed -o -e /run/motd.d/50-atoll")
    health = json.loads(machine.succeed("atoll health --json"))
    assert health["healthy"] and health["tries"] == [] and health["held"] == []
    assert "ordering cycle" not in machine.succeed("journalctl -b -q _PID=1")


def test_a_kernel_that_panics_gives_way(story: Story) -> None:
    built = story.build("2", changes=NO_INITRD)
    story.upgrade_that_fails()
    story.comes_back_and_says("2", "its kernel or initrd did not start in 3 boot attempts")
    held = json.loads(story.machine.succeed("atoll health --json"))["held"]
    assert [each["tree"] for each in held] == [built.tree]


@pytest.mark.long
def test_a_broken_initrd_gives_way(story: Story) -> None:
    built = story.build("3", BROKEN_INITRD)
    story.upgrade_that_fails()
    story.comes_back_and_says("3", f"the image of tree {built.tree} cannot be mounted")


def test_a_failed_health_check_gives_way(story: Story) -> None:
    story.build("4", UNHEALTHY)
    story.upgrade_that_fails()
    story.comes_back_and_says("4", "health check 50-web failed: exit status 1: the shop is closed")


@pytest.mark.long
def test_a_panic_in_the_running_system_gives_way(story: Story) -> None:
    story.build("5", PANICS, changes=enabled("panics.service"))
    story.upgrade_that_fails()
    story.comes_back_and_says("5", "its kernel panicked: sysrq triggered crash")


@pytest.mark.long
def test_an_emergency_shell_gives_way(story: Story) -> None:
    story.build("5b", NO_DISK, changes=enabled("no-disk.service"))
    story.upgrade_that_fails()
    story.comes_back_and_says("5b", "the boot ended in the emergency shell")


def test_pulled_plugs_condemn_nothing(story: Story) -> None:
    machine = story.machine
    story.build("6")
    machine.succeed("atoll upgrade", timeout=900)
    machine.reboot()
    for _ in range(TRIES):
        machine.wait_for_shell()
        machine.power_cut()
        machine.start()
    machine.wait_for_system()
    state = story.state()
    assert state["1"]["booted"] and not state["6"]["held"]
    assert "atoll upgrade tries it again" in machine.succeed("cat /run/motd.d/50-atoll")


def test_what_changed_after_staging_comes_along(story: Story) -> None:
    """The unproven version again: this time the plug is pulled before its first boot, and once in
    it; what was changed in between is in the new system as well."""
    machine = story.machine
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
    state = story.state()
    assert state["6"]["booted"] and state["6"]["default"] and state["6"]["blessed"]
    assert machine.succeed("grep ^atoll: /etc/shadow") == shadow
    place = "/etc/NetworkManager/system-connections/home"
    assert machine.succeed(f"cat {place}; stat -c %a {place}") == "key\n600\n"
    number = state["6"]["number"]
    machine.fail(f"test -e /sysroot/atoll/deployments/{number}/etc/merged-from")
    machine.fail("test -e /run/motd.d/50-atoll -o -e /run/atoll/notes")
    assert machine.succeed("ls /boot/loader/entries").count("+") == 0


def test_a_damaged_system_that_was_good_once_gives_way(story: Story) -> None:
    """Its entry is not counted, so early boot itself asks for another one."""
    machine = story.machine
    built = story.build("8")
    machine.succeed("atoll upgrade", timeout=900)
    machine.reboot()
    machine.wait_for_system()
    assert story.state()["8"]["booted"] and story.state()["8"]["blessed"]
    machine.succeed(
        "unshare -m sh -ec 'mount -o remount,rw /sysroot; cd /sysroot/atoll/images;"
        f" head -c 8192 {built.tree} > new; mv new {built.tree}; sync'"
    )
    machine.power_cut()
    machine.start()
    machine.wait_for_reboot(timeout=900)
    machine.wait_for_system()
    runs = next(each for each in story.state().values() if each["booted"])
    assert runs["version"] != "8" and not runs["default"]
    told = machine.succeed("cat /run/motd.d/50-atoll")
    assert "did not boot" in told and f"atoll rollback {runs['number']}" in told
    assert "did not boot" in " ".join(machine.console.text().split())
    machine.succeed(f"atoll rollback {runs['number']}")
    machine.reboot()
    machine.wait_for_system()
    (now,) = [each for each in story.state().values() if each["booted"]]
    assert now["number"] == runs["number"] and now["default"]
