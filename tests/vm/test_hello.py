"""A recipe became a machine: it boots through firmware to a login, and is what the design says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from vmtest import Machine

    from .conftest import Built

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network]


def test_comes_up_healthy_to_a_login(booted: Machine) -> None:
    booted.wait_for_console_text(r"^hello login: ")
    assert booted.succeed("systemctl is-system-running").strip() == "running"
    assert booted.succeed("systemctl --failed --no-legend").strip() == ""


def test_runs_the_tree_that_was_built(booted: Machine, hello: Built) -> None:
    status = json.loads(booted.succeed("atoll status --json"))
    (deployment,) = status["deployments"]
    assert deployment["tree"] == hello.tree
    assert deployment["booted"] and deployment["default"]
    assert json.loads(booted.succeed("cat /run/atoll/booted"))["tree"] == hello.tree
    # Every file of the running tree is read and hashed again, inside the machine.
    assert booted.succeed("atoll tree digest /run/atoll/tree", timeout=600).strip() == hello.tree
    measured = booted.succeed(f"fsverity measure /sysroot/atoll/images/{hello.tree}")
    assert hello.tree in measured


def test_mounts_are_those_of_the_design(booted: Machine) -> None:
    def mount(path: str) -> dict[str, str]:
        found = json.loads(booted.succeed(f"findmnt --json --mountpoint {path}"))
        options: dict[str, str] = found["filesystems"][-1]
        return options

    root = mount("/")
    assert root["fstype"] == "overlay"
    assert "ro" in root["options"].split(",")
    assert "verity=require" in root["options"]
    assert "ro" in mount("/usr")["options"].split(",")
    etc = mount("/etc")
    assert etc["fstype"] == "overlay" and "rw" in etc["options"].split(",")
    for path in ("/var", "/home", "/root", "/srv", "/mnt", "/media", "/opt", "/usr/local"):
        assert "rw" in mount(path)["options"].split(","), path
        booted.succeed(f"test ! -L {path}")
    for path in ("/sysroot", "/var/lib/dpkg"):
        assert "ro" in mount(path)["options"].split(","), path
    booted.fail("test -s /etc/machine-id && grep -q uninitialized /etc/machine-id")


def test_nobody_writes_to_the_tree(booted: Machine) -> None:
    for path in (
        "/usr/bin/mine",
        "/mine",
        "/usr/lib/atoll/mine",
        "/sysroot/mine",
        "/boot/mine",
        "/var/lib/dpkg/mine",
    ):
        assert "Read-only file system" in booted.fail(f"touch {path} 2>&1"), path
    booted.fail("mount -o remount,rw /")
    booted.succeed("echo fine > /usr/local/bin/mine && rm /usr/local/bin/mine")


def test_debians_own_commands_name_the_way(booted: Machine) -> None:
    booted.succeed("systemctl is-active atoll-instead.service")
    assert "timedatectl set-timezone" in booted.fail("dpkg-reconfigure tzdata")
    booted.succeed("update-alternatives --display awk")


def test_the_package_database_describes_the_booted_tree(booted: Machine) -> None:
    wrong = [
        line for line in booted.succeed("dpkg --verify || true").splitlines() if " c " not in line
    ]
    assert wrong == []
    assert "install ok installed" in booted.succeed("dpkg -s atoll")


def test_the_boot_menu_shows_the_entry(booted: Machine) -> None:
    assert "atoll-2.conf" in booted.succeed("bootctl list --no-pager")


def test_apt_names_the_verb_to_use(booted: Machine) -> None:
    for command in ("apt install -y hello", "apt-get -y upgrade", "apt-get remove -y nano"):
        said = booted.fail(f"{command} 2>&1")
        assert "atoll add" in said and "atoll upgrade" in said, command
    booted.succeed("apt-get --simulate install bash")
    booted.succeed("apt list --installed 2>/dev/null | grep -q ^atoll/")
    booted.fail("systemctl is-enabled --quiet apt-daily.timer")


def test_a_person_can_log_in(booted: Machine) -> None:
    assert "/home/atoll" in booted.succeed("getent passwd atoll")
    assert booted.succeed("stat -c '%U %a' /home/atoll").strip() in (
        "atoll 700",
        "atoll 750",
        "atoll 755",
    )
    booted.succeed("test -s /etc/ssh/ssh_host_ed25519_key")
    booted.succeed("su atoll -c 'touch ~/mine && atoll status'")
    # Typed at the console: a prompt alone does not show that anybody gets in.
    booted.wait_for_screen()
    booted.send_chars("atoll\n")
    booted.wait_for_screen()
    booted.send_chars("atoll\n")
    booted.wait_until_succeeds("pgrep -u atoll -t tty1 bash")


def test_status_is_instant(booted: Machine) -> None:
    """No timing: what it loads is what costs, and the expensive modules are not among it."""
    loaded = booted.succeed(
        "python3 -X importtime -m atoll status 2>&1 >/dev/null | awk '{print $NF}'"
    ).split()
    assert not {"zstandard", "subprocess", "asyncio", "http.client", "hashlib"} & set(loaded)


@pytest.mark.long
def test_what_is_the_persons_survives_a_reboot(booted: Machine) -> None:
    machine_id = booted.succeed("cat /etc/machine-id")
    booted.succeed("su atoll -c 'echo kept > ~/note'", "echo named > /etc/hostname", "sync")
    booted.reboot()
    booted.wait_for_system()
    assert booted.succeed("cat /home/atoll/note /etc/hostname") == "kept\nnamed\n"
    assert booted.succeed("cat /etc/machine-id") == machine_id
    # The state partition fills its disk: this boot does not even start Atoll to find that out.
    assert booted.succeed("systemctl show -P ExecMainPID atoll-grow.service").strip() == "0"
    assert booted.succeed("systemctl --failed --no-legend").strip() == ""


def test_an_emptied_var_and_a_wiped_etc_do_not_stop_the_next_boot(booted: Machine) -> None:
    booted.execute("rm -rf --one-file-system --no-preserve-root /* ; rm -rf /var/* /etc/* /home/*")
    booted.power_cut()
    booted.start()
    booted.wait_for_system()
    assert booted.succeed("systemctl --failed --no-legend").strip() == ""
    booted.succeed("atoll status")
