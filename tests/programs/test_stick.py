"""A live system written to a stick, which is a loop device; judged by sfdisk, e2fsck and cmp."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from atoll.base.errors import Damaged, Refused
from atoll.base.report import NullReporter
from atoll.cli.disk import parse_persistence
from atoll.host.run import find_program, run
from atoll.image.bootable import read_bootable
from atoll.installer.apply.write_stick import find_stick, write_stick
from atoll.installer.devices.read_devices import read_block_devices
from atoll.machine.deployment import Origin
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.disk import EARLY_BOOT_LIVE, DiskSpec, LiveSpec, make_disk, plan_layout
from atoll.machine.disk_layout import derive_identity
from atoll.machine.grow import grow
from tests.loop_disks import attached, know, make_file
from tests.unit.machine.small_image import FACTS, files_of, make_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.image.bootable import BootableImage

PROGRAMS = (
    "sfdisk",
    "sgdisk",
    "mdir",
    "lsblk",
    "blkid",
    "losetup",
    "mkfs.vfat",
    "mke2fs",
    "mcopy",
    "debugfs",
)
missing = [name for name in PROGRAMS if find_program(name) is None]
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing), reason=f"not here: {', '.join(missing)}"),
]
SIZE = 1 << 30
MIB = 1 << 20
IDENTITY = derive_identity(UUID(int=3))
CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def image(tmp_path: Path) -> BootableImage:
    store, tree = make_store(tmp_path / "store", files_of(FACTS) | {EARLY_BOOT_LIVE: b"# live"})
    return read_bootable(store, tree)


@pytest.fixture
def device(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A stick with something at its begin and its end that must be gone."""
    file = make_file(tmp_path / "stick", SIZE)
    with file.open("r+b") as old:
        for place in (0, 600 * MIB, SIZE - MIB):
            os.pwrite(old.fileno(), b"old " * (MIB // 4), place)
    sector = getattr(request, "param", 512)
    with attached(file, sector=sector) as found:
        yield found


def put(image: BootableImage, device: Path, persistence: int) -> tuple[Path, DiskSpec]:
    stick = find_stick(device, read_block_devices())
    spec = DiskSpec(
        size=None,
        identity=IDENTITY,
        live=LiveSpec(persistence=persistence),
        sector=stick.disk.identity.sector,
    )
    file = image.store.root.parent / "live.img"
    make_disk(
        image,
        Origin(image="x"),
        file,
        source=image.store,
        spec=spec,
        reporter=NullReporter(),
    )
    write_stick(stick, file, plan_layout(image, spec), IDENTITY, NullReporter())
    return file, spec


@pytest.mark.parametrize(
    ("device", "persistence"), [(512, 0), (512, 300 * MIB), (4096, 300 * MIB)], indirect=["device"]
)
def test_a_stick_has_the_bytes_of_its_image(
    image: BootableImage, device: Path, persistence: int
) -> None:
    file, spec = put(image, device, persistence)
    layout = plan_layout(image, spec)
    with file.open("rb") as wanted, device.open("rb") as found:
        for part in (range(layout.persistence_start), range(layout.size - MIB, layout.size)):
            size = len(part)
            assert digest(wanted.fileno(), part.start, size) == digest(
                found.fileno(), part.start, size
            )
        # What was there before, at the end and where no partition is.
        assert os.pread(found.fileno(), MIB, SIZE - MIB) == bytes(MIB)
    table = json.loads(run(["sfdisk", "--json", device]))["partitiontable"]
    assert len(table["partitions"]) == (3 if persistence else 2)
    judged = run(["sgdisk", "--verify", device]).decode()
    assert "Identified 1 problems" in judged
    assert "doesn't reside\nat the end of the disk" in judged
    start = table["partitions"][0]["start"] * table["sectorsize"]
    assert start == MIB
    listed = run(["mdir", "-b", "-/", "-i", f"{device}@@{start}", "::"]).decode()
    assert "::/EFI/BOOT/BOOTX64.EFI" in listed
    volume = run(["dd", f"if={device}", f"skip={start}", "iflag=skip_bytes", "count=1", "bs=512"])
    # Linux does not mount FAT with smaller sectors than its disk has.
    assert int.from_bytes(volume[11:13], "little") == table["sectorsize"]
    if persistence:
        e2fsck = ["e2fsck", "-fn", f"{device}?offset={layout.persistence_start}"]
        run(e2fsck)
        uuid = run(["blkid", "-p", "-O", str(layout.persistence_start), "-o", "export", device])
        assert f"UUID={IDENTITY.persistence_file_system}" in uuid.decode()


def digest_of(device: Path, part: range) -> str:
    with device.open("rb") as file:
        return digest(file.fileno(), part.start, len(part))


def digest(handle: int, start: int, size: int) -> str:
    return hashlib.sha256(os.pread(handle, size, start)).hexdigest()


@pytest.mark.parametrize("place", [5 * MIB, 66 * MIB, 120 * MIB])
def test_a_stick_that_forgets_is_found_out_and_cannot_boot(
    image: BootableImage, device: Path, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As counterfeit sticks do, which have less memory than they say."""
    real = os.pwrite

    def forget(handle: int, data: bytes, offset: int) -> int:
        is_stick = stat.S_ISBLK(os.fstat(handle).st_mode)
        return real(handle, bytes(len(data)) if is_stick and offset >= place else data, offset)

    monkeypatch.setattr(os, "pwrite", forget)
    with pytest.raises(Damaged, match="does not read back as it was written"):
        put(image, device, 0)
    with device.open("rb") as found:
        assert os.pread(found.fileno(), MIB, 0) == bytes(MIB)


@pytest.mark.parametrize("sector", [512, 4096])
def test_an_image_with_the_rest_for_changes_fills_the_stick_that_it_is_written_to(
    image: BootableImage, tmp_path: Path, sector: int
) -> None:
    live = parse_persistence("rest")
    spec = DiskSpec(size=None, identity=IDENTITY, live=live, sector=sector)
    file, point = tmp_path / "live.img", tmp_path / "changes"
    origin = Origin(image="x")
    make_disk(image, origin, file, source=image.store, spec=spec, reporter=NullReporter())
    layout = plan_layout(image, spec)
    assert layout.persistence == 256 * MIB
    os.truncate(file, SIZE)
    point.mkdir()
    with attached(file, sector=sector) as stick:
        kept = digest_of(stick, range(MIB, layout.persistence_start))
        know(stick)
        run(["mount", f"{stick}p3", point])
        try:
            (point / "mine").write_text("kept")
            with suppress(PermissionError):
                # A container may lack CAP_SYS_RESOURCE, which the file system's growth needs.
                grow(Sysroot(root=point, esp=point / "esp"))
            assert (point / "mine").read_text() == "kept"
        finally:
            run(["umount", point])
        run(["e2fsck", "-fn", f"{stick}p3"])
        table = json.loads(run(["sfdisk", "--json", stick]))["partitiontable"]
        last = table["partitions"][2]
        assert (last["start"] + last["size"]) * sector == SIZE - MIB
        assert "No problems found" in run(["sgdisk", "--verify", stick]).decode()
        assert digest_of(stick, range(MIB, layout.persistence_start)) == kept


def test_a_stick_in_use_is_refused(image: BootableImage, device: Path) -> None:
    handle = os.open(device, os.O_RDONLY | os.O_EXCL)
    try:
        with pytest.raises(Refused, match="in use"):
            put(image, device, 0)
    finally:
        os.close(handle)


def atoll(words: list[str], typed: str | None) -> tuple[int, str]:
    """The command as a person runs it; ``typed`` is typed at a terminal, None has none."""
    env = os.environ | {"PYTHONPATH": str(CHECKOUT / "src")}
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "atoll", *words],
            stdin=subprocess.DEVNULL if typed is None else theirs,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
        )
        if typed is not None:
            os.write(ours, f"{typed}\n".encode())
        out, err = process.communicate(timeout=300)
    finally:
        os.close(ours)
        os.close(theirs)
    return process.returncode, (out + err).decode()


@pytest.mark.parametrize("typed", [None, "yes", ""])
def test_nothing_is_written_before_the_name_is_typed(
    image: BootableImage, device: Path, typed: str | None
) -> None:
    before = device.read_bytes()[: 2 * MIB]
    store = str(image.store.root)
    words = ["disk", "--live", image.tree, "--usb", str(device), "--store", store]
    code, told = atoll(words, typed)
    assert code == 11, told
    assert f"{device.name} (1.1 GB" in told and "will be erased" in told
    assert ("no terminal" if typed is None else "not confirmed: nothing was changed") in told
    assert device.read_bytes()[: 2 * MIB] == before
    code, told = atoll([*words, "--yes-erase", "sda"], None)
    assert code == 2 and "--yes-erase names sda" in told
    assert device.read_bytes()[: 2 * MIB] == before


def test_the_rest_of_a_stick_keeps_changes(image: BootableImage, device: Path) -> None:
    store = str(image.store.root)
    words = ["disk", "--live", image.tree, "--usb", str(device), "--store", store]
    code, told = atoll([*words, "--persistence", "rest"], device.name)
    assert code == 0, told
    assert "start a computer with UEFI from it" in told
    table = json.loads(run(["sfdisk", "--json", device]))["partitiontable"]
    last = table["partitions"][2]
    assert last["name"] == "atoll-persistence"
    assert (last["start"] + last["size"]) * 512 == SIZE - MIB
    run(["sfdisk", "--verify", device])
