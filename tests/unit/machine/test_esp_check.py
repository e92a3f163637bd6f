"""What may be unlinked on an ESP: by an image of it, and by the directory that it is mounted at."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from atoll.base.errors import Damaged, NotFound, Refused
from atoll.machine.boot import esp_check
from atoll.machine.boot import mounts as mounts_module
from atoll.machine.boot.esp_check import FINDINGS_SHOWN, check_esp, check_volume
from atoll.machine.boot.mounts import Mount, find_device, find_fat_mount, parse_mounts
from tests.unit.tree.fat_damage import (
    COUNTED,
    ENTRY,
    INITRD,
    KERNEL,
    Editable,
    golden,
    on_the_chain_of_another,
)

MOUNTS = """\
22 1 254:2 / / rw,relatime shared:1 - ext4 /dev/vda2 rw
30 22 0:26 / /boot rw shared:9 - autofs systemd-1 rw,fd=50,pgrp=1,timeout=120
31 30 254:1 / /boot ro,nosuid shared:10 master:3 - vfat /dev/vda1 rw,umask=0077
32 22 254:1 /EFI/a\\040b /srv/some\\040place rw - vfat /dev/vda1 rw
a line that is none of the kernel's
"""
ESP = os.makedev(254, 1)


def volume_in(folder: Path, edited: Editable) -> Path:
    path = folder / "esp.fat"
    path.write_bytes(edited.data)
    return path


def test_on_a_sound_volume_all_that_is_there_may_go(tmp_path: Path) -> None:
    source = volume_in(tmp_path, Editable(golden(16)))
    check = check_volume(source, [ENTRY, KERNEL, "loader/entries", "loader/absent"])
    assert check.safe == {Path(ENTRY), Path(KERNEL), Path("loader/entries")}
    assert check.findings == ()
    check.require_safe(Path(KERNEL))
    with pytest.raises(Refused, match="no such name"):
        check.require_safe(Path("loader/absent"))
    with pytest.raises(Refused, match="not checked"):
        check.require_safe(Path(INITRD))


def test_two_names_on_one_chain_both_stay(tmp_path: Path) -> None:
    edited = Editable(golden(32))
    on_the_chain_of_another(edited)
    source = volume_in(tmp_path, edited)
    check = check_volume(source, [ENTRY, COUNTED, KERNEL, INITRD])
    assert check.safe == {Path(COUNTED), Path(INITRD)}
    assert set(check.unsafe) == {Path(ENTRY), Path(KERNEL)}
    assert check.findings[0] == f"{ENTRY} and {KERNEL} share clusters"
    with pytest.raises(Refused, match="share clusters") as refused:
        check.require_safe(Path(KERNEL))
    assert refused.value.hint == f"repair it unmounted: fsck.fat -a {source}"


def test_nothing_goes_from_a_directory_that_is_damaged_itself(tmp_path: Path) -> None:
    edited = Editable(golden(32))
    edited.set_next(edited.item("loader").chain[-1], 0)
    check = check_volume(volume_in(tmp_path, edited), [ENTRY, "loader/loader.conf", KERNEL])
    assert check.safe == {Path(KERNEL)}
    assert check.unsafe[Path(ENTRY)] == "the cluster chain of loader contains a free cluster"


def test_a_person_is_not_told_thousands_of_findings(tmp_path: Path) -> None:
    edited = Editable(golden(32))
    garbage = edited.item(KERNEL).first
    edited.set_next(edited.item("loader/entries").chain[-1], garbage)
    check = check_volume(volume_in(tmp_path, edited), [ENTRY])
    assert len(check.findings) == FINDINGS_SHOWN + 1
    assert check.findings[-1].startswith("and ")


def test_what_is_no_volume_is_damage_and_says_where(tmp_path: Path) -> None:
    source = tmp_path / "esp.fat"
    source.write_bytes(bytes(4096))
    with pytest.raises(Damaged, match=str(source)) as damage:
        check_volume(source, [ENTRY])
    assert damage.value.hint == f"see: fsck.fat -n {source}"
    with pytest.raises(Damaged, match="cannot be read"):
        check_volume(tmp_path, [ENTRY])
    with pytest.raises(NotFound):
        check_volume(tmp_path / "absent", [ENTRY])


def test_in_a_plain_directory_everything_is_safe(tmp_path: Path) -> None:
    paths = {tmp_path / ENTRY, tmp_path / "absent"}
    check = check_esp(tmp_path, paths)
    assert check.device is None
    assert check.safe == paths
    assert check.findings == ()
    with pytest.raises(NotFound):
        check_esp(tmp_path / "absent", ())


@pytest.mark.parametrize("below", ["", "loader"])
def test_paths_are_those_of_the_volume_wherever_it_is_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    edited = Editable(golden(32))
    on_the_chain_of_another(edited)
    source = volume_in(tmp_path, edited)
    point = tmp_path / "seen"
    (point / "entries").mkdir(parents=True)
    here = point.stat().st_dev
    mounts = tmp_path / "mountinfo"
    number = f"{os.major(here)}:{os.minor(here)}"
    mounts.write_text(f"9 1 {number} /{below} {point} rw - vfat /dev/vda1 rw\n")
    monkeypatch.setattr(mounts_module, "MOUNTS", mounts)
    monkeypatch.setattr(esp_check, "find_device", lambda _mount: source)
    names = [Path(name).relative_to(below) for name in (ENTRY, COUNTED)]
    check = check_esp(point, [point / name for name in names])
    assert check.device == source
    assert check.safe == {point / names[1]}
    if below:
        inner = point / "entries"
        assert check_esp(inner, [inner / "atoll-2+1-2.conf"]).safe
    for outside in (tmp_path / "esp.fat", point / ".." / "esp.fat"):
        with pytest.raises(NotFound, match="is not below"):
            check_esp(point, [outside])


def test_the_mount_of_fat_is_found_below_an_automount_and_by_a_part_of_it() -> None:
    mounts = parse_mounts(MOUNTS)
    assert len(mounts) == 4
    found = find_fat_mount(mounts, PurePosixPath("/boot/loader"), ESP)
    assert found is not None
    assert (found.kind, found.source) == ("vfat", "/dev/vda1")
    part = find_fat_mount(mounts, PurePosixPath("/srv/some place"), ESP)
    assert part is not None
    assert part.root == PurePosixPath("/EFI/a b")
    assert find_fat_mount(mounts, PurePosixPath("/boot"), os.makedev(254, 2)) is None
    assert find_fat_mount(mounts, PurePosixPath("/home"), ESP) is None


def test_a_device_that_is_not_in_dev_is_said() -> None:
    mount = Mount(
        device=os.makedev(4000, 77),
        root=PurePosixPath("/"),
        point=PurePosixPath("/boot"),
        kind="vfat",
        source="/dev/null",
    )
    with pytest.raises(NotFound, match=r"the device of /boot is not in /dev: /dev/null"):
        find_device(mount)
