"""An encrypted machine: the passphrase is asked for, with the layout of its keyboard, for as long
as it takes; upgrades keep it so; the recovery key opens it as well."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from atoll.machine.keyboard import KeyboardLayout, make_keymap
from vmtest import Disk, Display, Machine, MachineSpec

from .conftest import STORE, atoll, build_version
from .encrypted_disk import encrypt_disk

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.vm,
    pytest.mark.root,
    pytest.mark.network,
    pytest.mark.skipif(
        not all(map(shutil.which, ("cryptsetup", "ckbcomp", "systemd-cryptenroll"))),
        reason="needs cryptsetup, ckbcomp and systemd-cryptenroll",
    ),
]

PACKAGES = {
    '    "nano",\n': '    "systemd-cryptsetup",\n    "kbd",\n    "console-setup",\n',
    'locale = "C.UTF-8"\n': 'locale = "C.UTF-8"\nkeymap = "de"\n',
}
PASSPHRASE = "zart-yeti"
AMERICAN = str.maketrans("zy-", "yz/")
"""The keys of an American keyboard that type this on a German one."""
PROMPT = "please enter passphrase[^:]* for disk atoll"
DEVICE_SECONDS = 20
"""How long systemd waits for a device here; a person at the prompt may take longer."""


GROWTH = 512 << 20
"""Bytes that the disk is larger than what was written to it."""


def wait_for_prompt(machine: Machine, number: int = 1) -> None:
    """Until the passphrase was asked for so often."""
    machine.wait_for_console_text(f"(?is)(?:{PROMPT}.*?){{{number}}}")
    machine.wait_for_screen()  # the serial console is asked first


def answer(machine: Machine, text: str) -> None:
    machine.send_chars(text.translate(AMERICAN) + "\n")


@pytest.mark.long
def test_an_encrypted_machine_boots_upgrades_and_opens_with_its_recovery_key(
    tmp_path: Path,
) -> None:
    one = build_version(tmp_path, "1", changes=PACKAGES)
    two = build_version(tmp_path, "2", changes=PACKAGES)
    plain = tmp_path / "plain.img"
    atoll("disk", one.tree, plain, "--store", STORE, "--size", "2G")
    limit = f"systemd.default_device_timeout_sec={DEVICE_SECONDS}"
    keymap = make_keymap(KeyboardLayout(layout="de"))
    disk = encrypt_disk(plain, tmp_path / "disk.img", PASSPHRASE, keymap, (limit,))
    plain.unlink()
    with disk.image.open("r+b") as file:
        file.truncate(disk.image.stat().st_size + GROWTH)
    stick = tmp_path / "stick.img"
    folder = two.layout.removeprefix("oci:").rpartition(":")[0]
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", folder, stick, "1G"], check=True)
    spec = MachineSpec(
        disks=(Disk(image=disk.image), Disk(image=stick)), display=Display.STD, memory=512
    )
    with Machine(spec, tmp_path / "machine") as machine:
        machine.start()
        wait_for_prompt(machine)
        time.sleep(1.5 * DEVICE_SECONDS)
        answer(machine, "a wrong one")
        wait_for_prompt(machine, 2)
        answer(machine, PASSPHRASE)
        machine.wait_for_system()
        source = machine.succeed("findmnt --noheadings --output SOURCE /sysroot")
        assert source.startswith("/dev/mapper/atoll")
        _everyone_sees_what_protects_it(machine)
        small = state_size(machine)

        machine.succeed("mkdir /run/stick", "mount -o ro /dev/vdb /run/stick")
        machine.succeed("atoll rebase oci:/run/stick:2", timeout=900)
        machine.reboot()
        wait_for_prompt(machine)
        answer(machine, disk.recovery_key.text)
        machine.wait_for_system()
        # Entry 2 was that of the first deployment after it was blessed.
        assert machine.boot_entry().startswith("atoll-3")
        machine.succeed("test -e /sysroot/atoll/state/blessed/2")
        # The partition grew in the first boot, and the volume with it in this one.
        machine.wait_until_fails("test -e /sysroot/atoll/state/growing")
        assert state_size(machine) > small + GROWTH // 2


def state_size(machine: Machine) -> int:
    return int(machine.succeed("df --block-size=1 --output=size /var | tail -1"))


def _everyone_sees_what_protects_it(machine: Machine) -> None:
    user = "setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs --"
    machine.wait_for_file("/run/atoll/status.json")
    seen = json.loads(machine.succeed(f"{user} atoll status --json"))["protection"]
    assert seen == json.loads(machine.succeed("atoll status --json"))["protection"]
    assert seen["encrypted"] and seen["verified"]
    assert seen["key_slots"] == ["passphrase", "recovery key"]
    assert (seen["signed"], seen["unsigned"]) == (["kernel"], ["boot loader"])
    assert seen["secure_boot"] != "on"
