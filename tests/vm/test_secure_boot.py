"""Secure Boot with Microsoft's keys: firmware starts shim, shim systemd-boot, and that Debian's
signed kernel; what nobody signed is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vmtest import Disk, Machine, MachineSpec, Uefi

from .conftest import IDENTITY, STORE, atoll, build_version

if TYPE_CHECKING:
    from tests.vm.conftest import Built

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
