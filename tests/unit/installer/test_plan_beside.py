"""The plan of an installation beside the system that runs, and what stands against it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Refused
from atoll.base.text import width
from atoll.installer.beside.carry import Carried, CarriedItem, Item
from atoll.installer.beside.describe_beside import beside_as_json, format_beside
from atoll.installer.beside.old_system import (
    OldMount,
    OldSystem,
    describe_system,
    find_path,
    is_foreign,
    parse_system,
)
from atoll.installer.beside.plan_beside import (
    BesidePlan,
    BesideRequest,
    HomePlan,
    find_loader,
    plan_beside,
)
from atoll.installer.devices.block_devices import Signature
from atoll.machine.boot.mounts import parse_mounts
from tests.unit.installer.made_devices import FAT, NEEDS, make_devices, make_disk, part
from tests.unit.installer.old_debian import SDA2, TITLE, debian_devices, etc_node, old_system

if TYPE_CHECKING:
    from atoll.installer.devices.block_devices import BlockDevices

TREE = etc_node({"fstab": ""})
CARRIED = Carried(
    tree=TREE, etc=TREE, items=(CarriedItem(item=Item.USERS, detail="ada (1000), bob (1001)"),)
)
MOUNTS = """\
22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw
30 22 8:1 / /boot/efi rw shared:2 - vfat /dev/sda1 rw
"""
RELEASE = f'PRETTY_NAME="{TITLE}"\nNAME="Debian GNU/Linux"\nID=debian\n'


def plan(
    system: OldSystem | None = None,
    devices: BlockDevices | None = None,
    *,
    esp: Path | None = None,
    home: bool = True,
) -> BesidePlan:
    request = BesideRequest(carried=CARRIED, esp=esp, home=home)
    return plan_beside(system or old_system(), devices or debian_devices(), NEEDS, request)


def refused(system: OldSystem | None = None, devices: BlockDevices | None = None) -> str:
    with pytest.raises(Refused) as caught:
        plan(system, devices)
    return f"{caught.value.message} {caught.value.hint}"


def test_the_plan_names_partition_esp_loader_and_home() -> None:
    made = plan()
    assert (made.device, made.esp, made.esp_number) == (SDA2, Path("/dev/sda1"), 1)
    assert made.loader == "/EFI/debian/shimx64.efi"
    assert made.home == HomePlan(shared="home")
    assert made.esp_uuid == "00000000-0000-0000-0000-000000000001"


def test_free_space_that_changes_in_a_running_system_does_not_change_the_plan() -> None:
    assert plan(replace(old_system(), free=old_system().free - 4096)) == plan()


def test_the_plan_fits_80_columns_and_says_what_comes_along() -> None:
    text = format_beside(plan(old_system(verity=False, below_home=("/home/ada/nas",))))
    assert all(width(line) <= 80 for line in text.splitlines())
    for words in (
        TITLE,
        "sda2",
        "/atoll",
        "ada (1000), bob (1001)",
        "--without",
        "--undo",
        "tune2fs",
    ):
        assert words in text
    document = beside_as_json(plan())
    assert document["carried"] == {
        "users": "ada (1000), bob (1001)",
        "home": "the same ones, /home on sda2",
    }


def test_a_home_of_its_own_is_mounted_by_fstab() -> None:
    home = OldMount(device=Path("/dev/sda3"), kind="ext4")
    found = plan(old_system(home=home)).home
    assert found is not None and found.line.startswith("UUID=hhhhhhhh /home ext4 defaults,nofail")


def btrfs(**changes: object) -> OldSystem:
    root = OldMount(device=SDA2, kind="btrfs", inside="/@rootfs")
    return replace(old_system(root=root, path="@rootfs"), **changes)  # type: ignore[arg-type]


def test_homes_in_a_subvolume_are_found_from_the_top() -> None:
    assert plan(btrfs()).home == HomePlan(shared="@rootfs/home")
    at = OldMount(device=SDA2, kind="btrfs", inside="/@home")
    assert plan(btrfs(home=at)).home == HomePlan(shared="@home")
    # The default subvolume is @rootfs: early boot sees nothing beside it.
    assert "a subvolume that /dev/sda2 hides" in refused(btrfs(path="", home=at))


def test_a_btrfs_of_its_own_for_homes_keeps_its_subvolume() -> None:
    devices = make_devices(
        make_disk(
            part(1, 1, 512, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", signature=FAT),
            part(2, 513, 9000, signature=Signature(kind="ext4", uuid="d" * 8)),
            part(3, 20000, 9000, signature=Signature(kind="btrfs", uuid="b" * 8)),
        )
    )
    devices = replace(
        devices, esps=(replace(devices.esps[0], files=frozenset({"efi/debian/grubx64.efi"})),)
    )
    home = OldMount(device=Path("/dev/sda3"), kind="btrfs", inside="/@home")
    found = plan(old_system(home=home), devices).home
    assert found is not None and " btrfs subvol=/@home,nofail" in found.line


@pytest.mark.parametrize(
    ("home", "said"),
    [
        (OldMount(device=Path("/dev/dm-3"), kind="ext4", stack="LVM"), "LVM"),
        (OldMount(device=Path("server:/home"), kind="nfs4"), "no partition of a disk"),
        (OldMount(device=Path("/dev/sda3"), kind="ext4", inside="/users"), "directory /users"),
    ],
)
def test_a_home_that_cannot_be_mounted_is_refused_by_name(home: OldMount, said: str) -> None:
    text = refused(old_system(home=home))
    assert said in text and "--without home" in text
    assert plan(old_system(home=home), home=False).home is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"family": ("fedora",)}, "knows Debian only"),
        ({"root": OldMount(device=SDA2, kind="xfs")}, "the root file system is xfs"),
        ({"root": OldMount(device=Path("overlay"), kind="overlay")}, "is overlay"),
        ({"root": OldMount(device=Path("zpool/root"), kind="zfs")}, "is zfs"),
        ({"root": OldMount(device=Path("/dev/dm-0"), kind="ext4", stack="LUKS")}, "on LUKS"),
        ({"root": OldMount(device=Path("/dev/dm-1"), kind="ext4", stack="LVM")}, "on LVM"),
        ({"root": OldMount(device=Path("/dev/md0"), kind="ext4", stack="RAID")}, "on RAID"),
        ({"root": OldMount(device=Path("/dev/vdz9"), kind="ext4")}, "no partition of a disk"),
        ({"path": None}, "not where early boot would look"),
        ({"foreign": True}, "directory /atoll already"),
        ({"free": 1 << 20}, "free, and the system needs"),
    ],
)
def test_what_it_cannot_do_is_refused_with_what_to_do(
    changes: dict[str, object], said: str
) -> None:
    assert said in refused(old_system(**changes))


def test_bios_and_other_firmware_are_refused() -> None:
    assert "BIOS" in refused(
        devices=replace(debian_devices(), firmware=make_devices(bits=None).firmware)
    )


def test_all_obstacles_are_named_at_once() -> None:
    text = refused(old_system(free=0, foreign=True), debian_devices(esp_free=10))
    assert "the system needs" in text and "/atoll already" in text and "two kernels" not in text
    assert "2 kernels with their initrds" in text


def test_an_esp_is_shared_with_care() -> None:
    loader = "efi/debian/grubx64.efi"
    assert "has no boot loader of Debian" in refused(devices=debian_devices("efi/microsoft/x.efi"))
    devices = debian_devices(loader, "efi/systemd/systemd-bootx64.efi")
    assert "systemd-bootx64.efi already" in refused(devices=devices)
    # What a run that was cut has left is no obstacle.
    plan(old_system(recorded=True), devices)
    system = "dddddddd"
    own = replace(debian_devices(loader).esps[0], entry_uuids=frozenset({system}))
    devices = replace(debian_devices(), esps=(own,))
    assert "already has boot entries" in refused(devices=devices)
    text = refused(old_system(recorded=True), devices)
    assert "is installed beside Debian" in text and "--undo" in text
    menu = replace(debian_devices(loader).esps[0], foreign_menu=True)
    assert "boot menu of systemd-boot" in refused(devices=replace(debian_devices(), esps=(menu,)))


def test_without_a_mounted_esp_that_of_the_disk_is_used() -> None:
    assert plan(old_system(esp=None)).esp == Path("/dev/sda1")
    disk = make_disk(part(2, 513, 9000, signature=Signature(kind="ext4", uuid="d" * 8)))
    assert "no EFI system partition was found" in refused(old_system(esp=None), make_devices(disk))


def test_the_same_file_system_twice_is_refused() -> None:
    twin = Signature(kind="btrfs", uuid="d" * 8)
    devices = debian_devices()
    parts = [
        replace(each, signature=twin) if each.number in (2, 3) else each
        for each in devices.disks[0].partitions
    ]
    table = devices.disks[0].table
    assert table is not None
    disk = replace(devices.disks[0], table=replace(table, partitions=tuple(parts)))
    assert "also lies on /dev/sda3" in refused(btrfs(), replace(devices, disks=(disk,)))


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (("efi/debian/shimx64.efi", "efi/debian/grubx64.efi"), "/EFI/debian/shimx64.efi"),
        (("efi/debian/grubx64.efi", "efi/boot/bootx64.efi"), "/EFI/debian/grubx64.efi"),
        (("efi/boot/bootx64.efi",), "/EFI/BOOT/BOOTX64.EFI"),
        (("efi/debian/shimx64.efi", "efi/ubuntu/grubx64.efi"), "/EFI/ubuntu/grubx64.efi"),
        (("efi/debian/grubia32.efi",), None),
        ((), None),
    ],
)
def test_the_loader_of_the_older_system(files: tuple[str, ...], found: str | None) -> None:
    assert find_loader(files, "x64", ("ubuntu", "debian")) == found


def test_mounts_and_release_are_read() -> None:
    system = parse_system(parse_mounts(MOUNTS), RELEASE, Path("/nonexistent"))
    assert (system.title, system.family) == (TITLE, ("debian",))
    assert system.root == OldMount(device=Path("/dev/sda2"), kind="ext4")
    assert system.esp == Path("/dev/sda1")
    assert system.home is None
    assert describe_system("ID=ubuntu\nID_LIKE=debian\n") == (
        "the older system",
        ("ubuntu", "debian"),
    )
    assert describe_system('ID="unbalanced\n') == ("the older system", ())


@pytest.mark.parametrize(
    ("uuid", "stack"),
    [
        ("CRYPT-LUKS2-0123-sda5_crypt\n", "LUKS"),
        ("CRYPT-PLAIN-x\n", "encryption"),
        ("LVM-abcd\n", "LVM"),
        ("mpath-1\n", "multipath"),
        ("other\n", "device-mapper"),
    ],
)
def test_what_lies_between_a_file_system_and_its_disk(
    tmp_path: Path, uuid: str, stack: str
) -> None:
    (tmp_path / "dm-9/dm").mkdir(parents=True)
    (tmp_path / "dm-9/dm/uuid").write_text(uuid)
    (tmp_path / "md7/md").mkdir(parents=True)
    text = "22 1 253:9 / / rw - ext4 /dev/dm-9 rw\n23 22 9:7 / /home rw - ext4 /dev/md7 rw\n"
    system = parse_system(parse_mounts(text), RELEASE, tmp_path)
    assert system.root.stack == stack
    assert system.home is not None and system.home.stack == "RAID"


def test_where_the_root_is_in_its_file_system(tmp_path: Path) -> None:
    (tmp_path / "@rootfs").mkdir()
    assert find_path(tmp_path, "/", tmp_path) == ""
    assert find_path(tmp_path, "/@rootfs", tmp_path / "@rootfs") == "@rootfs"
    assert find_path(tmp_path, "/other", tmp_path / "@rootfs") is None


def test_what_is_in_the_way_at_the_top(tmp_path: Path) -> None:
    assert not is_foreign(tmp_path)
    (tmp_path / "atoll").mkdir()
    assert not is_foreign(tmp_path)
    (tmp_path / "atoll/mine").touch()
    assert is_foreign(tmp_path)
    (tmp_path / "atoll/beside.json").touch()
    assert not is_foreign(tmp_path)
