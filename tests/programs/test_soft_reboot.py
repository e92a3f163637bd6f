"""The next system of a soft reboot, with real mounts: beside one that early boot has mounted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from atoll.base.report import NullReporter
from atoll.image.tree_owned import format_tree_owned
from atoll.machine.upgrade import UpgradeRequest, upgrade
from tests.machines import Maker
from tests.programs.early_boot import SYSTEM, read_whole
from tests.programs.soft_reboot_driver import INTERRUPTED
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


def files(version: str) -> dict[str, str]:
    return {
        **{f"{name}/.keep": "" for name in (*MOUNT_POINTS, "run", "var")},
        "usr/lib/atoll/var/lib/dpkg/status": f"{version}\n",
        "usr/lib/atoll/tree-owned": format_tree_owned(["/var/lib/dpkg"]),
        "usr/lib/opt/chrome/version": f"{version}\n",
        "etc/motd": f"{version}\n",
        "etc/passwd": "root:x:0:0::/root:/bin/sh\n",
        "etc/group": "root:x:0:\n",
        "etc/shadow": "root:*:1::::::\n",
    }


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[LoopMachine]:
    maker = Maker(tmp_path)
    one = maker.publish("1", files("1"))
    sysroot = maker.install(tmp_path / "machine", one)
    maker.publish("2", files("2"))
    upgrade(sysroot, UpgradeRequest(verb="upgrade"), NullReporter())
    sysroot.esp.rename(tmp_path / "esp")
    image = tmp_path / "state.img"
    subprocess.run(["truncate", "-s", "64M", image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-d", sysroot.root, image], check=True)
    with loop_device(image) as loop:
        yield LoopMachine(place=tmp_path, shell="dash", loop=loop, tree=one.tree)


STOPS = """#!/bin/sh
# Stands for a systemd that begins at once, and ends the session that asked, systemctl too.
kill -TERM $PPID $$
"""
NO_ANSWER = """#!/bin/sh
# Stands for a systemd that begins, and whose answer does not come.
case $1 in
    show) echo stopping ;;
    *) echo Connection reset >&2; exit 1 ;;
esac
"""


def drive(machine: LoopMachine, systemctl: str = STOPS) -> dict[str, Any]:
    """What is there after the next system was prepared, and what was said."""
    place = machine.place
    (place / "systemctl").write_text(systemctl)
    (place / "systemctl").chmod(0o755)
    text = read_whole(SYSTEM / "atoll/prepare-soft-reboot")
    for before, after in (
        ("root=/run/atoll/root", f"root={place}/run/atoll/root"),
        ("bind /sysroot", f"bind {place}/sysroot/sysroot"),
        ("bind /run ", f"bind {place}/run "),
        ("/run/atoll", f"{place}/run/atoll"),
        (f"{place}{place}", f"{place}"),
        # Relative to the new root these are the same.
        (f"$root{place}/run", "$root/run"),
        ("timeout -k 10 600 chroot $root", f"{place}/merge"),
    ):
        text = text.replace(before, after)
    script = place / "prepare-soft-reboot"
    script.write_text(text.replace("#!/bin/sh", "#!/usr/bin/dash", 1))
    script.chmod(0o755)
    upper = f"{place}/run/atoll/state/atoll/deployments/2/etc/upper"
    (place / "merge").write_text(f"#!/bin/sh\necho mine > {upper}/mine.conf\n")
    (place / "merge").chmod(0o755)
    driver = CHECKOUT / "tests/programs/soft_reboot_driver.py"
    done = machine.boot(
        f"PYTHONPATH={CHECKOUT}/src:{CHECKOUT} {sys.executable} {driver} {place} {script}"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "said": done.stderr}


def test_the_next_system_is_mounted_as_early_boot_mounts_it(machine: LoopMachine) -> None:
    found = drive(machine)
    # Interrupted, but only after systemd had begun: nothing is taken back.
    assert found["code"] == INTERRUPTED, found["said"]
    kept = dict.fromkeys(("mine", "var", "home", "local"), "mine")
    read_only = ["", "usr", "sysroot", "var/lib/dpkg"]
    same = {"sysroot": True, "read-only": read_only, **kept}
    assert found["next"] == {
        **same,
        "version": "hello 2",
        **dict.fromkeys(("motd", "dpkg", "opt", "tree-etc"), "2"),
        "tree": "hello 2",
        "booted": '{"deployment": 2',
        "marks": ["booted", "try", "unblessed"],
    }
    # The running system is as it was: its marks, its mounts, its /etc.
    assert found["now"] == {
        **same,
        "version": "hello 1",
        **dict.fromkeys(("motd", "dpkg", "opt", "tree-etc"), "1"),
        "tree": "hello 1",
        "booted": '{"deployment": 1',
        "marks": ["booted"],
    }
    assert found["still"] and found["left"] == [] and not found["record"]


def test_without_an_answer_of_systemd_its_state_counts(machine: LoopMachine) -> None:
    found = drive(machine, NO_ANSWER)
    assert found["code"] == 0, found["said"]
    assert found["next"]["version"] == "hello 2" and found["left"] == []


def test_a_damaged_tree_is_not_started(machine: LoopMachine) -> None:
    mounted = machine.place / "broken"
    mounted.mkdir()
    flip = f"""
        mount {machine.loop} {mounted}
        for image in {mounted}/atoll/images/*; do
            [ "${{image##*/}}" = {machine.tree} ] ||
                printf X | dd of=$image bs=1 seek=3000 conv=notrunc status=none
        done
    """
    assert machine._run(flip).returncode == 0
    found = drive(machine)
    assert found["code"] != 0 and "it is damaged or not that tree" in found["said"]
    assert found["now"]["version"] == "hello 1" and found["now"]["dpkg"] == "1"
    # Nothing is left of it, and the boot that comes merges /etc.
    assert "next" not in found and found["left"] == [] and found["record"]
    assert found["directories"] == ["atoll"]


def test_when_systemd_refuses_nothing_is_left_of_it(machine: LoopMachine) -> None:
    found = drive(machine, "#!/bin/sh\necho not now >&2; exit 1\n")
    assert found["code"] not in (0, INTERRUPTED) and "not now" in found["said"]
    assert found["now"]["version"] == "hello 1" and found["record"]
    assert "next" not in found and found["left"] == []
    assert found["directories"] == ["atoll"]
