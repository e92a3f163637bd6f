"""What is not the tree that the boot entry names does not run: it fails to boot, or reads fail."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from vmtest import Disk, Machine, MachineSpec, Writes

from .conftest import STORE, atoll

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Built, Ready

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network]

PRIVATE = "unshare -m sh -ec 'mount -o remount,rw /sysroot; cd /sysroot/atoll; {}'"


@pytest.mark.long
def test_another_valid_image_in_its_place_does_not_boot(
    hello: Built, ready: Ready, tmp_path: Path
) -> None:
    """The digest in the boot entry decides, not the name under which an image is found."""
    other = _another_tree(tmp_path)
    with ready.machine(tmp_path) as machine:
        machine.copy_to(STORE / "images" / other, "/var/other")
        machine.succeed(
            PRIVATE.format(
                f"cp /var/other images/new; fsverity enable images/new; "
                f"mv images/new images/{hello.tree}; sync"
            )
        )
        machine.shutdown()
        _refuses_to_boot(machine)


def test_a_flipped_bit_in_the_tree_image_does_not_boot(hello: Built, tmp_path: Path) -> None:
    disk = tmp_path / "flipped.img"
    shutil.copyfile(hello.disk, disk)
    _flip_bit(disk, f"/atoll/images/{hello.tree}")
    with _machine(disk, tmp_path) as machine:
        _refuses_to_boot(machine)


@pytest.mark.long
def test_a_replaced_object_is_never_read(ready: Ready, tmp_path: Path) -> None:
    """The right bytes without verity, and other bytes with verity: both fail to read."""
    with ready.machine(tmp_path) as machine:
        first, second = _objects(machine, "/usr/bin/tac", "/usr/bin/shuf")
        machine.succeed(
            PRIVATE.format(
                f"cp {first} new; mv new {first}; "
                f"cp {first} new; echo >> new; fsverity enable new; mv new {second}; "
                "sync; echo 3 > /proc/sys/vm/drop_caches"
            )
        )
        machine.reboot()
        machine.wait_for_system()
        for program in ("/usr/bin/tac", "/usr/bin/shuf"):
            assert "Input/output error" in machine.fail(f"cat {program} 2>&1 >/dev/null")
            machine.fail(f"{program} --version")


@pytest.mark.long
def test_a_flipped_bit_in_an_object_is_never_read(
    hello: Built, ready: Ready, tmp_path: Path
) -> None:
    with ready.machine(tmp_path) as machine:
        (path,) = _objects(machine, "/usr/bin/tac")
    disk = tmp_path / "flipped.img"
    shutil.copyfile(hello.disk, disk)
    _flip_bit(disk, f"/atoll/{path}")
    with _machine(disk, tmp_path) as machine:
        machine.start()
        machine.wait_for_system()
        assert "Input/output error" in machine.fail("cat /usr/bin/tac 2>&1 >/dev/null")


def _machine(disk: Path, tmp_path: Path) -> Machine:
    directory = tmp_path / f"machine-{disk.stem}"
    return Machine(MachineSpec(disks=(Disk(image=disk, writes=Writes.OVERLAY),)), directory)


def _refuses_to_boot(machine: Machine) -> None:
    machine.start()
    machine.wait_for_console_text(r"atoll: .*(does not match|cannot be read|damaged)")
    assert "login:" not in machine.console.text()


def _objects(machine: Machine, *programs: str) -> list[str]:
    """Where in /sysroot/atoll the contents of these files are."""
    found = []
    for program in programs:
        digest = machine.succeed(f"fsverity digest --compact {program}").strip()
        found.append(f"objects/{digest[:2]}/{digest[2:]}")
    return found


def _another_tree(tmp_path: Path) -> str:
    """A valid tree that is not the one of the boot entry."""
    root = tmp_path / "other"
    (root / "usr").mkdir(parents=True)
    (root / "usr" / "file").write_text("another system\n")
    image = tmp_path / "other.cfs"
    atoll("tree", "image", root, image)
    tree = atoll("tree", "digest", root).strip()
    shutil.copyfile(image, STORE / "images" / tree)
    return tree


def _flip_bit(disk: Path, path: str) -> None:
    """Flip one bit of a file's first block, below the file system of the second partition."""
    table = subprocess.run(
        ["/usr/sbin/sfdisk", "--dump", disk], check=True, capture_output=True, text=True
    ).stdout
    start = 512 * int(
        [line for line in table.splitlines() if "start=" in line][1]
        .split("start=")[1]
        .split(",")[0]
    )
    blocks = subprocess.run(
        ["/usr/sbin/debugfs", "-R", f"blocks {path}", f"{disk}?offset={start}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    with disk.open("r+b") as raw:
        raw.seek(start + 4096 * int(blocks[0]) + 1200)
        byte = raw.read(1)
        raw.seek(-1, 1)
        raw.write(bytes([byte[0] ^ 1]))
