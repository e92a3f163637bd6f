"""A disk with I/O errors by the emulator: each kind of installation ends in an error that names the
disk, and everything else on it stays, byte for byte."""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.loop_disks import ESP, make_file, write_table
from vmtest import Disk, Interface, Machine, MachineSpec, Writes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.vm.conftest import Built

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network, pytest.mark.long]

MIB = 1 << 20
FOREIGN = "EFI/Microsoft/Boot/bootmgfw.efi"
KEPT = (601, 400)
"""A partition of data: start and size in MiB."""
BAD = (*range(680, 1000), *range(1100, 2100), *range(4100, 5100))
"""Where sectors are bad, in MiB: in the new system of each kind of installation, where its files
go, behind what mke2fs writes."""
ENCRYPTED = """
schema = 1
[target]
{target}
erase = true
[encryption]
passphrase_file = "passphrase"
[user]
name = "ada"
password = "{password}"
"""
PASSWORD = (
    "$6$atollsalt$63sz5ZWHaI6weVaGaRahah.lscoU4EEdeaU/iCdNT27wx4GSyB/"
    "ezVgmrAlk1bS64OxA.Br59jvMSUYl0wr/Y0"
)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ESP and a partition of another system, one that may be formatted, and free space."""
    folder = tmp_path_factory.mktemp("disk")
    path = make_file(folder / "bad.img", 10240 * MIB)
    write_table(
        path,
        f"1 : start=1MiB, size=600MiB, type={ESP}",
        f"2 : start={KEPT[0]}MiB, size={KEPT[1]}MiB, name=data",
        "3 : start=1001MiB, size=3000MiB, name=old",
    )
    esp = make_file(folder / "esp", 600 * MIB)
    subprocess.run(["mkfs.vfat", "-F", "32", esp], check=True, capture_output=True)
    file = folder / FOREIGN
    file.parent.mkdir(parents=True)
    file.write_bytes(b"Windows" * 99999)
    subprocess.run(["mcopy", "-s", "-i", esp, folder / "EFI", "::"], check=True)
    data = make_file(folder / "data", KEPT[1] * MIB)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", folder / "EFI", data], check=True)
    with path.open("r+b") as whole:
        for part, start in ((esp, 1), (data, KEPT[0])):
            whole.seek(start * MIB)
            whole.write(part.read_bytes())
    return path


@pytest.fixture(scope="module")
def machine(live: Built, disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    bad = Disk(
        image=disk,
        interface=Interface.NVME,
        writes=Writes.DIRECT,
        bad=tuple(place * MIB // 512 for place in BAD),
    )
    spec = MachineSpec(disks=(Disk(image=live.disk), bad), memory=1536)
    with Machine(spec, tmp_path_factory.mktemp("machine"), name="installer") as machine:
        machine.start()
        machine.wait_for_system()
        yield machine


def kept(disk: Path) -> str:
    with disk.open("rb") as file:
        file.seek(KEPT[0] * MIB)
        return hashlib.sha256(file.read(KEPT[1] * MIB)).hexdigest()


def check_error(said: str) -> None:
    assert "atoll: /dev/nvme0n1 is failing: " in said, said
    assert "use another disk; about this one: journalctl -k, smartctl --all /dev/nvme0n1" in said
    assert "Traceback" not in said and "a bug in Atoll" not in said


@pytest.mark.parametrize(
    "words",
    [
        "--free-space /dev/nvme0n1 --yes-erase nvme0n1",
        "--partition /dev/nvme0n1p3 --yes-erase nvme0n1",
        "--answers /run/partition.toml",
        "--answers /run/disk.toml",
        "--disk /dev/nvme0n1 --yes-erase nvme0n1",
    ],
)
def test_a_failing_disk_is_named(machine: Machine, disk: Path, words: str) -> None:
    before = kept(disk)
    for kind, target in (("partition", "/dev/nvme0n1p3"), ("disk", "/dev/nvme0n1")):
        answers = ENCRYPTED.format(target=f'{kind} = "{target}"', password=PASSWORD)
        machine.succeed(f"cat > /run/{kind}.toml <<'END'\n{answers}\nEND")
    machine.succeed("echo a passphrase > /run/passphrase")
    status, _ = machine.execute(f"atoll install booted {words} > /run/said 2>&1", timeout=1800)
    said = machine.succeed("cat /run/said")
    assert status == 1, said
    check_error(said)
    machine.fail("grep /run/atoll/install /proc/self/mounts")
    if "disk" not in words:
        assert kept(disk) == before
        machine.succeed("sync", "sfdisk --verify /dev/nvme0n1")
        shown = subprocess.run(
            ["mtype", "-i", f"{disk}@@1M", f"::{FOREIGN}"], check=True, capture_output=True
        )
        assert shown.stdout == b"Windows" * 99999
