"""An Atoll machine installs its system on other disks, which then boot alone: a whole disk, and one
with the partitions and the ESP of others, beside an unchanged first disk."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.loop_disks import ESP, make_file, write_table
from vmtest import Disk, Interface, Machine, MachineSpec, Uefi, Writes
from vmtest.qemu import variables_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.vm.conftest import Built

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network, pytest.mark.long]

GIB = 1 << 30
MIB = 1 << 20
ANSWERS = """
schema = 1
image = "booted"

[target]
disk = "/dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_whole"
erase = true

[user]
name = "ada"
password = "{password}"

[system]
hostname = "reef"
"""
PASSWORD = (
    "$6$atollsalt$63sz5ZWHaI6weVaGaRahah.lscoU4EEdeaU/iCdNT27wx4GSyB/"
    "ezVgmrAlk1bS64OxA.Br59jvMSUYl0wr/Y0"
)
FOREIGN = {"EFI/BOOT/BOOTX64.EFI": 100_000, "EFI/Microsoft/Boot/bootmgfw.efi": 900_000}


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An empty disk, and one of a Windows: a small ESP, its system, and free space."""
    folder = tmp_path_factory.mktemp("disks")
    whole = make_file(folder / "whole.img", 8 * GIB)
    windows = make_file(folder / "windows.img", 10 * GIB)
    write_table(
        windows,
        f'1 : start=1MiB, size=100MiB, type={ESP}, name="EFI system partition"',
        "2 : start=101MiB, size=16MiB, type=E3C9E316-0B5C-4DB8-817D-F92DF00215AE",
        "3 : start=117MiB, size=2000MiB, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7",
    )
    esp = make_file(folder / "esp", 100 * MIB)
    subprocess.run(["mkfs.vfat", "-n", "SYSTEM", esp], check=True, capture_output=True)
    for name, size in FOREIGN.items():
        path = folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(hashlib.shake_128(name.encode()).digest(size))
    subprocess.run(["mcopy", "-s", "-i", esp, folder / "files/EFI", "::"], check=True)
    ntfs = make_file(folder / "ntfs", 2000 * MIB)
    subprocess.run(["mkntfs", "-F", "-f", "-q", ntfs], check=True, capture_output=True)
    with windows.open("r+b") as disk:
        for part, start in ((esp, 1), (ntfs, 117)):
            disk.seek(start * MIB)
            disk.write(part.read_bytes())
    return whole, windows


@pytest.fixture(scope="module")
def machine(
    live: Built, disks: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    whole, windows = disks
    spec = MachineSpec(
        disks=(
            Disk(image=live.disk),
            Disk(
                image=whole,
                writes=Writes.DIRECT,
                interface=Interface.NVME,
                serial="whole",
                sector=4096,
            ),
            Disk(image=windows, writes=Writes.DIRECT, interface=Interface.SATA, serial="windows"),
        ),
        memory=1536,
    )
    with Machine(spec, tmp_path_factory.mktemp("machine"), name="installer") as machine:
        machine.start()
        machine.wait_for_system()
        yield machine


def digest(disk: Path, start: int, size: int) -> str:
    with disk.open("rb") as file:
        file.seek(start)
        return hashlib.sha256(file.read(size)).hexdigest()


def check_foreign_files(disk: Path) -> None:
    """What others had on the ESP is there, byte for byte."""
    for name, size in FOREIGN.items():
        argv = ["mtype", "-i", f"{disk}@@1M", f"::{name}"]
        done = subprocess.run(argv, check=True, capture_output=True)
        assert done.stdout == hashlib.shake_128(name.encode()).digest(size), name


@contextmanager
def boots(spec: MachineSpec, folder: Path, tree: str) -> Iterator[Machine]:
    """A machine that runs the tree that was installed, blessed."""
    with Machine(spec, folder, name="installed") as machine:
        machine.start()
        assert machine.wait_for_system() == "running"
        (there,) = json.loads(machine.succeed("atoll status --json"))["deployments"]
        assert (there["tree"], there["booted"], there["blessed"]) == (tree, True, True)
        yield machine


def test_nothing_is_written_without_a_confirmation(machine: Machine) -> None:
    said = machine.fail("atoll install booted --disk /dev/nvme0n1 < /dev/null 2>&1")
    assert "Afterwards" in said and "--yes-erase nvme0n1" in said
    said = machine.fail("atoll install booted --disk /dev/vda --yes-erase vda 2>&1")
    assert "this computer" in said or "is mounted" in said
    machine.fail("blkid -p /dev/nvme0n1")


def test_a_whole_disk_by_an_answers_file(machine: Machine, live: Built) -> None:
    before = digest(live.disk, 0, 64 * MIB)
    machine.succeed(f"cat > /root/answers.toml <<'END'\n{ANSWERS.format(password=PASSWORD)}\nEND")
    shown = json.loads(
        machine.succeed("atoll install --answers /root/answers.toml --json", timeout=1800)
    )
    assert (shown["disk"], shown["tree"]) == ("/dev/nvme0n1", live.tree)
    assert shown["warnings"] == []
    machine.succeed("sfdisk --verify /dev/nvme0n1", "e2fsck -fn /dev/nvme0n1p2")
    machine.succeed("fsck.fat -n /dev/nvme0n1p1")
    assert digest(live.disk, 0, 64 * MIB) == before


def test_free_space_beside_windows(machine: Machine, disks: tuple[Path, Path]) -> None:
    _, windows = disks
    ntfs = digest(windows, 117 * MIB, 2000 * MIB)
    said = machine.succeed(
        "atoll install booted --free-space /dev/sda --yes-erase sda", timeout=1800
    )
    assert "Nothing is erased" in said and "kernels" in said
    machine.succeed("sfdisk --verify /dev/sda", "e2fsck -fn /dev/sda5", "fsck.fat -n /dev/sda4")
    # The firmware's list has it at its end, and the first disk is still what starts.
    listed = machine.succeed("efibootmgr")
    number = next(
        line[4:8] for line in listed.splitlines() if line.partition("\t")[0].endswith("* Atoll")
    )
    order = next(line for line in listed.splitlines() if line.startswith("BootOrder"))
    assert order.endswith(number)
    machine.shutdown()
    assert digest(windows, 117 * MIB, 2000 * MIB) == ntfs
    check_foreign_files(windows)


def test_the_whole_disk_boots_alone(
    machine: Machine, disks: tuple[Path, Path], live: Built, tmp_path: Path
) -> None:
    machine.kill()
    disk = Disk(image=disks[0], interface=Interface.NVME, sector=4096)
    with boots(MachineSpec(disks=(disk,)), tmp_path / "whole", live.tree) as installed:
        assert installed.succeed("hostname").strip() == "reef"
        installed.succeed("id ada", "test -d /home/ada")
        assert int(installed.succeed("df --output=size -B1 /var | tail -1")) > 6 * GIB


def test_the_system_beside_windows_boots_from_its_own_partition_for_kernels(
    machine: Machine, disks: tuple[Path, Path], live: Built, tmp_path: Path
) -> None:
    """By the entry of the firmware: the removable-media path is the other system's."""
    variables = tmp_path / "variables.fd"
    shutil.copyfile(variables_path(machine.directory), variables)
    disk = Disk(image=disks[1], interface=Interface.SATA, writes=Writes.DIRECT)
    spec = MachineSpec(disks=(disk,), boot=Uefi(variables=variables))
    with boots(spec, tmp_path / "beside", live.tree) as installed:
        installed.succeed("ls /boot/loader/entries/atoll-*.conf /efi/EFI/Microsoft")
        assert installed.succeed("findmnt -no SOURCE /boot").split()[-1] == "/dev/sda4"
        # Blessed: its entry was written where the first one is.
        (entry,) = installed.succeed("ls /boot/loader/entries").split()
        assert "+" not in entry
        assert "NO WAY BACK" not in installed.succeed("atoll status")
        # Whether the loader is signed is read on the ESP, beside the kernel's partition.
        assert "boot loader" in installed.succeed("atoll status --json")
        installed.fail("findmnt /run/atoll/loader")
        installed.shutdown()
    check_foreign_files(disks[1])
