"""Live changes with real mounts: a machine that early boot has mounted, in a mount namespace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from atoll.base.report import NullReporter
from atoll.image.tree_owned import format_tree_owned
from atoll.machine.upgrade import UpgradeRequest, upgrade
from tests.machines import Maker
from tests.programs.test_early_boot_mounts import (
    MOUNT_POINTS,
    LoopMachine,
    loop_device,
    needs_verified_trees,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, needs_verified_trees]

CHECKOUT = Path(__file__).parents[2]
SYSTEMCTL = """#!/bin/sh
echo "$*" >> "${0%/*}/calls"
case $1 in show) cat "${0%/*}/units" ;; esac
"""
UNITS = """Id=ssh.service
ActiveState=active
FragmentPath=/usr/lib/systemd/system/ssh.service
ExecStart={ path=/usr/sbin/sshd ; argv[]=/usr/sbin/sshd -D ; ignore_errors=no }

Id=multi-user.target
ActiveState=active
FragmentPath=/usr/lib/systemd/system/multi-user.target

Id=other.service
ActiveState=active
FragmentPath=/usr/lib/systemd/system/other.service
ExecStart={ path=/usr/bin/other ; argv[]=/usr/bin/other ; ignore_errors=no }
"""


def files(version: str, owned: list[str]) -> dict[str, str]:
    base = "usr/lib/systemd/system"
    return {
        **{f"{name}/.keep": "" for name in MOUNT_POINTS},
        **{f"usr/lib/atoll{path}/status": f"{version}\n" for path in owned},
        "usr/lib/atoll/tree-owned": format_tree_owned(owned),
        "usr/lib/opt/chrome/version": f"{version}\n",
        "etc/motd": "one\n" if version == "1" else "two\n",
        f"{base}/ssh.service": f"[Service]\n# {version}\n",
        f"{base}/other.service": "[Service]\n",
        f"{base}/multi-user.target": "[Unit]\n",
        **({} if version == "1" else {f"{base}/multi-user.target.wants/new.service": ""}),
        **({} if version == "1" else {f"{base}/new.service": "[Service]\n"}),
    }


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[LoopMachine]:
    maker = Maker(tmp_path)
    one = maker.publish("1", files("1", ["/var/lib/dpkg"]))
    sysroot = maker.install(tmp_path / "machine", one)
    maker.publish("2", files("2", ["/var/lib/apt", "/var/lib/dpkg"]))
    upgrade(sysroot, UpgradeRequest(verb="upgrade"), NullReporter())
    shutil.rmtree(sysroot.esp)
    image = tmp_path / "state.img"
    subprocess.run(["truncate", "-s", "64M", image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-d", sysroot.root, image], check=True)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "units").write_text(UNITS)
    for name in ("systemctl", "systemd-sysusers", "systemd-tmpfiles"):
        (programs / name).write_text(SYSTEMCTL)
        (programs / name).chmod(0o755)
    with loop_device(image) as loop:
        yield LoopMachine(place=tmp_path, shell="dash", loop=loop, tree=one.tree)


def drive(machine: LoopMachine, *words: str) -> Any:
    path = f"{machine.place}/programs:{os.environ['PATH']}"
    command = [
        f"PYTHONPATH={CHECKOUT}/src:{CHECKOUT} PATH={path}",
        sys.executable,
        str(CHECKOUT / "tests/programs/live_driver.py"),
        str(machine.place),
        *words,
    ]
    done = machine.boot(" ".join(command))
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def picture(version: str, **other: object) -> dict[str, object]:
    two = version == "2"
    return {
        "usr": f"hello {version}",
        "etc": "two" if two else "one",
        "mine": "No such file or directory",
        "tree": f"hello {version}",
        "tree-etc": "two" if two else "one",
        "dpkg": version,
        "apt": "2" if two else "No such file or directory",
        "opt": version,
        "local": "No such file or directory",
        "applied": 2 if two else None,
        "record": not two,
        **other,
    }


def test_usr_and_etc_are_exchanged_and_come_back(machine: LoopMachine) -> None:
    found = drive(machine, "go")
    assert found["codes"] == [0, 0]
    assert found["before"] == picture("1")
    assert found["there"] == picture("2", mine="mine", local="local")
    # What was changed meanwhile is merged back; nothing is merged at the next boot.
    assert found["back"] == picture("1", mine="later", local="local", record=False)
    assert (found["old"], found["read-only"]) == ("hello 1", True)
    assert found["left"] == ["booted"]
    calls = (machine.place / "programs/calls").read_text()
    there, back = (each.splitlines() for each in calls.split("show ")[1:])
    assert "try-restart ssh.service" in there and "start new.service" in there
    assert "try-restart ssh.service" in back and "other" not in calls


@pytest.mark.parametrize(("first", "step"), [(5, 9), pytest.param(0, 1, marks=pytest.mark.long)])
def test_cut_before_an_operation_it_is_continued(
    machine: LoopMachine, first: int, step: int
) -> None:
    found = drive(machine, "cuts", str(first), str(step))
    assert found["wrong"] == []
    assert found["cuts"] > 25 / step


def test_services_with_mounts_of_their_own_follow_unless_they_cover_some(
    machine: LoopMachine,
) -> None:
    assert drive(machine, "others") == {"code": 0, "found": [["two", True], ["one", False]]}


def test_a_scratch_overlay_takes_writes_and_is_in_the_way_of_a_live_change(
    machine: LoopMachine,
) -> None:
    found = drive(machine, "scratch")
    assert found["codes"] == [0, 11, 77, 0]
    assert found["inside"] == picture("1", usr="mine", local="local")
    assert found["full"] == "No space left on device"
    assert found["after"] == picture("1", local="local")
