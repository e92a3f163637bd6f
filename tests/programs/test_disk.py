"""A disk image, judged by the programs of others: sfdisk, mtools, e2fsck, debugfs."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from atoll.base.errors import NotFound, Refused, UsageError
from atoll.base.report import NullReporter
from atoll.cli.disk import choose_format, parse_identity, parse_size
from atoll.host.run import find_program, run
from atoll.image.bootable import objects_of, read_bootable
from atoll.machine.bios_message import CODE_LIMIT, MESSAGE, format_boot_code
from atoll.machine.deployment import Origin
from atoll.machine.disk import EARLY_BOOT_LIVE, DiskFormat, DiskSpec, LiveSpec, convert, make_disk
from atoll.machine.disk_layout import DiskIdentity, derive_identity
from tests.unit.machine.small_image import FACTS, files_of, make_store

if TYPE_CHECKING:
    from atoll.image.bootable import BootableImage
    from atoll.store.layout import Store

PROGRAMS = ("sfdisk", "mkfs.vfat", "mcopy", "mdir", "mke2fs", "debugfs", "e2fsck")
missing = [name for name in PROGRAMS if find_program(name) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"not here: {', '.join(missing)}")

IDENTITY = derive_identity(UUID(int=1))


def program(name: str) -> str:
    found = find_program(name)
    assert found is not None
    return found


def make(
    folder: Path,
    *,
    size: int | None = None,
    identity: DiskIdentity = IDENTITY,
    live: LiveSpec | None = None,
    kind: DiskFormat = DiskFormat.RAW,
) -> Path:
    out = folder / "disk.img"
    image, store = image_in(folder)
    make_disk(
        image,
        Origin(image="store:hello"),
        out,
        source=store,
        spec=DiskSpec(size=size, identity=identity, live=live, format=kind),
        reporter=NullReporter(),
    )
    return out


def image_in(folder: Path) -> tuple[BootableImage, Store]:
    store, tree = make_store(folder / "store", files_of(FACTS) | {EARLY_BOOT_LIVE: b"# live"})
    return read_bootable(store, tree), store


def partitions(disk: Path) -> list[dict[str, object]]:
    table = json.loads(run([program("sfdisk"), "--json", disk]))["partitiontable"]
    assert table["label"] == "gpt"
    assert UUID(table["id"]) == IDENTITY.disk
    found = table["partitions"]
    assert isinstance(found, list)
    return found


def state_of(disk: Path) -> str:
    start = partitions(disk)[1]["start"]
    assert isinstance(start, int)
    return f"{disk}?offset={start * 512}"


def ask_debugfs(disk: Path, request: str) -> str:
    return run([program("debugfs"), "-R", request, state_of(disk)]).decode()


def test_a_disk_is_what_firmware_loader_and_kernel_expect(tmp_path: Path) -> None:
    disk = make(tmp_path)
    image, _ = image_in(tmp_path)
    esp, state = partitions(disk)
    assert (esp["type"], esp["uuid"]) == (
        "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
        str(IDENTITY.esp).upper(),
    )
    assert state["uuid"] == str(IDENTITY.state).upper()
    assert disk.stat().st_size == 4 << 30
    assert disk.stat().st_blocks * 512 < 256 << 20, "the image has holes where nothing is"

    listing = run([program("mdir"), "-/", "-b", "-i", f"{disk}@@1M", "::"]).decode().split()
    assert f"::/atoll/{image.pair}/linux" in listing
    assert "::/loader/entries/atoll-1+3.conf" in listing
    entry = "::/loader/entries/atoll-1+3.conf"
    entry = run([program("mtype"), "-i", f"{disk}@@1M", entry]).decode()
    assert f"composefs={image.tree}" in entry
    assert f"atoll.state=UUID={IDENTITY.file_system}" in entry


def test_the_state_partition_is_clean_and_has_the_verity_feature(tmp_path: Path) -> None:
    disk = make(tmp_path)
    run([program("e2fsck"), "-fn", state_of(disk)])
    features = ask_debugfs(disk, "features")
    assert "verity" in features.split()
    assert str(IDENTITY.file_system) in ask_debugfs(disk, "stats -h")


def test_objects_have_their_size_their_flag_and_their_tree_behind_the_end(tmp_path: Path) -> None:
    disk = make(tmp_path)
    image, _ = image_in(tmp_path)
    for name, size in objects_of(image.store, image.tree).items():
        path = f"/atoll/objects/{name[:2]}/{name[2:]}"
        shown = ask_debugfs(disk, f"stat {path}")
        assert "Flags: 0x180000" in shown
        assert "Mode:  0444" in shown
        assert f"Size: {size}\n" in shown
        copy = tmp_path / "copy"
        ask_debugfs(disk, f"dump {path} {copy}")
        assert copy.stat().st_size == size
    shown = ask_debugfs(disk, f"stat /atoll/images/{image.tree}")
    assert "Flags: 0x180000" in shown


@pytest.mark.parametrize("persistence", [0, 300 << 20])
def test_a_live_disk_is_no_larger_than_its_content_and_never_written_by_its_loader(
    tmp_path: Path, persistence: int
) -> None:
    disk = make(tmp_path, live=LiveSpec(persistence=persistence))
    image, _ = image_in(tmp_path)
    assert disk.stat().st_size < (160 << 20) + persistence
    esp, state, *rest = partitions(disk)
    assert state["attrs"] == "GUID:60,63"
    run([program("e2fsck"), "-fn", state_of(disk)])
    features = ask_debugfs(disk, "features").split()
    assert "verity" in features and "has_journal" not in features
    # An entry that is not counted: systemd-boot renames counted ones.
    entry = "::/loader/entries/atoll-1.conf"
    options = run([program("mtype"), "-i", f"{disk}@@1M", entry]).decode().split("options ")[1]
    words = options.split()
    uuid = f"atoll.persistence=UUID={IDENTITY.persistence_file_system}"
    assert words[:3] == [
        f"composefs={image.tree}",
        f"atoll.state=UUID={IDENTITY.file_system}",
        "atoll.deployment=1",
    ]
    assert words[3:] == [
        "atoll.verity=require",
        "atoll.live=1",
        *([uuid] if persistence else []),
        "quiet",
    ]
    listing = run([program("mdir"), "-/", "-b", "-i", f"{disk}@@1M", "::"]).decode().split()
    assert "::/EFI/BOOT/BOOTX64.EFI" in listing
    run([program("fsck.fat"), "-n", cut_out(disk, esp, tmp_path / "esp")])
    assert len(rest) == (1 if persistence else 0)
    for each in rest:
        start = each["start"]
        assert isinstance(start, int)
        run([program("e2fsck"), "-fn", f"{disk}?offset={start * 512}"])


def test_a_computer_that_starts_by_bios_says_that_it_needs_uefi(tmp_path: Path) -> None:
    """QEMU's own firmware is a BIOS; without graphics its output goes to the serial port."""
    qemu = find_program("qemu-system-x86_64")
    if qemu is None:
        pytest.skip("needs qemu-system-x86")
    assert len(format_boot_code()) <= CODE_LIMIT
    disk, console = make(tmp_path, live=LiveSpec()), tmp_path / "console"
    argv = [
        *(qemu, "-nodefaults", "-no-user-config", "-display", "none", "-m", "64"),
        *("-machine", "q35,graphics=off", "-serial", f"file:{console}"),
        *("-drive", f"file={disk},format=raw,if=virtio,readonly=on"),
    ]
    deadline = time.monotonic() + 300
    with subprocess.Popen(argv) as process:
        try:
            while b"cannot run this system.\r\n" not in (text := read_console(console)):
                assert process.poll() is None
                assert time.monotonic() < deadline, text
                time.sleep(0.1)
        finally:
            process.kill()
    for line in MESSAGE.encode().splitlines():
        assert line in text


def read_console(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def cut_out(disk: Path, partition: dict[str, object], to: Path) -> Path:
    start, size = partition["start"], partition["size"]
    assert isinstance(start, int) and isinstance(size, int)
    with disk.open("rb") as file:
        to.write_bytes(os.pread(file.fileno(), size * 512, start * 512))
    return to


def test_a_live_disk_is_the_same_system_as_an_installed_one(tmp_path: Path) -> None:
    """Byte for byte in the tree's image, which has the names of all objects."""
    (tmp_path / "live").mkdir()
    (tmp_path / "installed").mkdir()
    disks = make(tmp_path / "live", live=LiveSpec()), make(tmp_path / "installed")
    image, _ = image_in(tmp_path / "live")
    found = []
    for disk in disks:
        copy = disk.with_name("image")
        ask_debugfs(disk, f"dump /atoll/images/{image.tree} {copy}")
        found.append(copy.read_bytes())
    assert found[0] == found[1] == image.store.image_path(image.tree).read_bytes()


def test_an_image_without_early_boot_for_live_systems_is_refused(tmp_path: Path) -> None:
    store, tree = make_store(tmp_path / "store")
    with pytest.raises(Refused, match="built before Atoll had live systems"):
        make_disk(
            read_bootable(store, tree),
            Origin(image="x"),
            tmp_path / "disk.img",
            source=store,
            spec=DiskSpec(size=None, identity=IDENTITY, live=LiveSpec()),
            reporter=NullReporter(),
        )


def test_a_persistence_partition_has_a_least_size(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too small"):
        make(tmp_path, live=LiveSpec(persistence=5 << 20))


def test_all_is_roots_whoever_makes_the_disk(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        disk = make(tmp_path)
    else:
        tmp_path.chmod(0o777)
        for parent in tmp_path.parents:
            if parent.owner() == "root" and parent != Path("/tmp"):
                parent.chmod(parent.stat().st_mode | 0o055)
        disk = make_as_nobody(tmp_path)
    for path in ("/", "/atoll", "/atoll/deployments/1/etc/upper", "/atoll/var"):
        assert "User:     0   Group:     0" in ask_debugfs(disk, f"stat {path}"), path
    run([program("e2fsck"), "-fn", state_of(disk)])


def make_as_nobody(folder: Path) -> Path:
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            make(folder)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    return folder / "disk.img"


@pytest.mark.skipif(find_program("qemu-img") is None, reason="needs qemu-utils")
def test_another_format_has_the_same_bytes_for_nobody_else(tmp_path: Path) -> None:
    raw = make(tmp_path, live=LiveSpec())
    for kind in DiskFormat:
        if kind is DiskFormat.RAW:
            continue
        other = tmp_path / "other"
        shutil.copyfile(raw, other)
        convert(other, kind)
        assert stat.S_IMODE(other.stat().st_mode) == 0o600
        run([program("qemu-img"), "compare", "-f", "raw", "-F", kind, raw, other])


@pytest.mark.skipif(find_program("qemu-img") is None, reason="needs qemu-utils")
def test_a_disk_has_the_format_that_is_asked_for(tmp_path: Path) -> None:
    disk = make(tmp_path, live=LiveSpec(), kind=DiskFormat.QCOW2)
    found = json.loads(run([program("qemu-img"), "info", "--output", "json", disk]))
    assert found["format"] == "qcow2"
    assert {path.name for path in tmp_path.iterdir()} == {"disk.img", "store"}


def test_the_same_identity_gives_the_same_ids(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    tables = [
        subprocess.run(
            [program("sfdisk"), "--dump", "disk.img"],
            cwd=make(tmp_path / name).parent,
            check=True,
            capture_output=True,
        ).stdout
        for name in ("one", "two")
    ]
    assert tables[0] == tables[1]


def test_after_an_error_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too small"):
        make(tmp_path, size=100 << 20)
    store, tree = make_store(tmp_path / "store")
    image = read_bootable(store, tree)
    store.object_path(next(iter(objects_of(store, tree)))).unlink()
    with pytest.raises(Exception, match="object"):
        make_disk(
            image,
            Origin(image="x"),
            tmp_path / "disk.img",
            source=store,
            spec=DiskSpec(size=None, identity=IDENTITY),
            reporter=NullReporter(),
        )
    assert {path.name for path in tmp_path.iterdir()} == {"store"}


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    store, tree = make_store(tmp_path / "store")
    with pytest.raises(NotFound, match="no directory"):
        make_disk(
            read_bootable(store, tree),
            Origin(image="x"),
            tmp_path / "no/disk.img",
            source=store,
            spec=DiskSpec(size=None, identity=IDENTITY),
            reporter=NullReporter(),
        )


@pytest.mark.parametrize(
    ("text", "size"), [("4096", 4096), ("8G", 8 << 30), ("512m", 512 << 20), ("1GiB", 1 << 30)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "8 G", "0", "1.5G", "8GG", "１G"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_size(text)


def test_an_identity_is_a_uuid() -> None:
    assert parse_identity(str(UUID(int=5))) == UUID(int=5)
    assert parse_identity(None) != parse_identity(None)
    with pytest.raises(UsageError):
        parse_identity("mine")


@pytest.mark.parametrize(
    ("wanted", "out", "kind"),
    [
        (None, "x.img", DiskFormat.RAW),
        (None, "x", DiskFormat.RAW),
        (None, "x.qcow2", DiskFormat.QCOW2),
        (None, "x.VHDX", DiskFormat.VHDX),
        ("vmdk", "x.img", DiskFormat.VMDK),
        ("raw", "x.qcow2", DiskFormat.RAW),
    ],
)
def test_a_format_is_what_is_asked_for_or_what_the_name_says(
    wanted: str | None, out: str, kind: DiskFormat
) -> None:
    assert choose_format(wanted, Path(out)) is kind
