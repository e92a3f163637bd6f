"""Secure Boot with Microsoft's keys: firmware starts shim, shim systemd-boot, and that Debian's
signed kernel; what nobody signed is refused; a machine without shim gets it by an upgrade."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vmtest import Disk, Machine, MachineSpec, Uefi, Writes
from vmtest.blocklog import read_log, replay

from .conftest import IDENTITY, STORE, atoll, build_version

if TYPE_CHECKING:
    from tests.vm.conftest import Built
    from vmtest.blocklog import Entry

VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")
pytestmark = [
    pytest.mark.vm,
    pytest.mark.root,
    pytest.mark.network,
    pytest.mark.long,
    pytest.mark.skipif(not VARIABLES.exists(), reason=f"needs {VARIABLES} (ovmf)"),
]

SECURE = Uefi(secure_boot=True, variables=VARIABLES)
"""Firmware that starts only what the keys of Microsoft signed, as a laptop is sold."""
ESP_START, ESP_SIZE = 1 << 20, 512 << 20
FIRST = ("EFI/BOOT/BOOTX64.EFI", "EFI/systemd/shimx64.efi")
SECOND = ("EFI/BOOT/grubx64.efi", "EFI/systemd/grubx64.efi")
PLAIN = "EFI/systemd/systemd-bootx64.efi"
SIGNED = {
    '    "systemd-boot-efi",\n': '    "shim-signed",\n    "systemd-boot",\n'
    '    "systemd-boot-efi-amd64-signed",\n'
}


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Version 2 of hello, with shim and a signed systemd-boot."""
    return build_version(tmp_path_factory.mktemp("signed"), "2", changes=SIGNED)


def make_disk(tree: str, out: Path) -> Path:
    atoll("disk", tree, out, "--store", STORE, "--identity", IDENTITY)
    return out


def check_secure(machine: Machine) -> None:
    """Secure Boot is enforced, and everyone is told what that protects and what not."""
    machine.wait_for_system()
    assert machine.succeed("mokutil --sb-state").startswith("SecureBoot enabled")
    assert "[integrity]" in machine.succeed("cat /sys/kernel/security/lockdown")
    machine.wait_for_file("/run/atoll/status.json")
    user = "setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs --"
    status = machine.succeed(f"{user} atoll status 2>&1")
    assert "Secure Boot  on: checks boot loader and kernel, not initrd and boot entry" in status
    seen = json.loads(machine.succeed("atoll status --json"))["protection"]
    assert (seen["secure_boot"], seen["unsigned"]) == ("on", [])
    assert seen["signed"] == ["shim", "boot loader", "kernel"]


def test_it_boots_with_secure_boot_and_is_honest_about_it(signed: Built, tmp_path: Path) -> None:
    disk = make_disk(signed.tree, tmp_path / "signed.img")
    spec = MachineSpec(disks=(Disk(image=disk),), boot=SECURE)
    with Machine(spec, tmp_path / "machine") as machine:
        machine.start()
        check_secure(machine)
        # The loader says so, too: the entry is counted, and blessed by its new name.
        assert machine.boot_entry().startswith("atoll-1")
        machine.wait_until_succeeds("test -e /sysroot/atoll/state/blessed/1")


def test_an_unsigned_boot_loader_is_refused(hello: Built, tmp_path: Path) -> None:
    spec = MachineSpec(disks=(Disk(image=hello.disk),), boot=SECURE)
    with Machine(spec, tmp_path / "machine") as machine:
        machine.start()
        machine.wait_for_console_text("(?i)access denied|security violation")


def test_an_upgrade_brings_shim_and_then_secure_boot_may_be_on(
    hello: Built, signed: Built, tmp_path: Path
) -> None:
    """The files of the boot loader are exchanged on a FAT file system that is mounted; a power cut
    at any write leaves a boot loader that starts."""
    folder = signed.layout.removeprefix("oci:").rpartition(":")[0]
    stick = tmp_path / "stick.img"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", folder, stick, "1G"], check=True)
    disk = tmp_path / "disk.img"
    subprocess.run(["cp", "--sparse=always", hello.disk, disk], check=True)
    log = tmp_path / "writes.log"
    log.touch()
    own = Disk(image=disk, writes=Writes.DIRECT, write_log=log)
    with Machine(MachineSpec(disks=(own, Disk(image=stick))), tmp_path / "machine") as machine:
        machine.start()
        machine.wait_for_system()
        assert "must stay off: unsigned boot loader" in machine.succeed("atoll status")
        machine.succeed("mkdir /run/stick", "mount -o ro /dev/vdb /run/stick")
        machine.succeed("atoll rebase oci:/run/stick:2 2>&1", timeout=900)
        said = machine.succeed("atoll status")
        assert "can be on: shim, boot loader and kernel are signed" in said
        assert machine.succeed("find /boot -name atoll.new") == ""
        machine.shutdown()
    check_every_cut(read_log(log), hello.disk, disk, tmp_path / "esp.img")
    spec = MachineSpec(disks=(Disk(image=disk),), boot=SECURE)
    with Machine(spec, tmp_path / "secure", name="secure") as secure:
        secure.start()
        check_secure(secure)
        deployments = json.loads(secure.succeed("atoll status --json"))["deployments"]
        assert [each["version"] for each in deployments if each["booted"]] == ["2"]


def check_every_cut(log: list[Entry], before: Path, after: Path, esp: Path) -> None:
    """After every write to the ESP what firmware starts is whole, and so is what shim starts."""
    with before.open("rb") as source, esp.open("wb") as target:
        source.seek(ESP_START)
        target.write(source.read(ESP_SIZE))
    old = read_from_esp(esp, "EFI/BOOT/BOOTX64.EFI")
    new = {name: read_from_esp(f"{after}@@{ESP_START}", name) for name in (*FIRST, *SECOND)}
    assert new[FIRST[0]] not in (old, b"")
    seen = set()
    for entry in log:
        if not entry.size or not ESP_START <= entry.offset < ESP_START + ESP_SIZE:
            continue
        replay([replace(entry, offset=entry.offset - ESP_START)], esp)
        first = read_from_esp(esp, FIRST[0])
        assert first in (old, new[FIRST[0]])
        if first != old:
            assert read_from_esp(esp, SECOND[0]) == new[SECOND[0]]
        if read_from_esp(esp, FIRST[1]):
            assert read_from_esp(esp, SECOND[1]) == new[SECOND[1]]
        assert read_from_esp(esp, PLAIN) in (old, new[SECOND[0]])
        seen.add(first)
    assert len(seen) == 2
    subprocess.run(["fsck.fat", "-n", esp], check=True, capture_output=True)


def read_from_esp(esp: Path | str, name: str) -> bytes:
    """Empty when it is absent. Raises CalledProcessError for a file that cannot be read."""
    folder, _, file = name.rpartition("/")
    listed = subprocess.run(
        ["mdir", "-b", "-a", "-i", esp, f"::{folder}"], capture_output=True, text=True, check=True
    )
    if not any(line.lower().endswith(f"/{file.lower()}") for line in listed.stdout.splitlines()):
        return b""
    argv: list[str | Path] = ["mtype", "-i", esp, f"::{name}"]
    return subprocess.run(argv, capture_output=True, check=True).stdout
