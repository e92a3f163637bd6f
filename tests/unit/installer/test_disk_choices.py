"""What a person can choose from, on machines of different kinds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from atoll.installer.answers.parse import TargetAnswer
from atoll.installer.devices.block_devices import Use, UseKind, WindowsState
from atoll.installer.dialogue.disk_choices import DiskChoices, target_of
from atoll.installer.plan.partitioning import Target, TargetKind
from atoll.installer.settings.describe_settings import format_settings
from atoll.installer.settings.settings import (
    AddressSettings,
    Settings,
    UserSettings,
    WifiSettings,
)
from atoll.machine.keyboard import KeyboardLayout
from tests.unit.installer.made_devices import (
    NEEDS,
    debian_disk,
    make_devices,
    make_disk,
    windows_disk,
)


def choices_of(*disks: object) -> DiskChoices:
    return DiskChoices(devices=make_devices(*disks), needs=NEEDS)  # type: ignore[arg-type]


def lines_of(choices: DiskChoices, disk: str = "/dev/sda") -> dict[str, str]:
    return {line.title: line.why_not for line, _ in choices.list_parts(disk)}


def test_an_empty_disk() -> None:
    choices = choices_of(make_disk())
    (disk,) = choices.list_disks()
    assert (disk.value, disk.title) == ("/dev/sda", "sda (107 GB, Made Disk)")
    assert lines_of(choices)["the whole disk: it has no partitions"] == ""


def test_beside_windows() -> None:
    lines = lines_of(choices_of(windows_disk()))
    assert lines["the whole disk: everything on it is erased"] == ""
    (free,) = (title for title in lines if title.startswith("free space"))
    assert free.endswith("nothing is erased")
    assert lines[free] == ""
    assert 'only sda3 (54 GB, NTFS "Windows"): it is erased' in lines


def test_a_hibernated_windows_allows_only_the_whole_disk() -> None:
    lines = lines_of(choices_of(windows_disk(WindowsState.HIBERNATED)))
    assert lines["the whole disk: everything on it is erased"] == ""
    (free,) = (title for title in lines if title.startswith("free space"))
    assert lines[free]
    assert "\n" not in lines[free]


def test_a_disk_in_use_says_so() -> None:
    disk = debian_disk()
    assert disk.table is not None
    root, *others = disk.table.partitions[1:]
    used = replace(root, uses=(Use(kind=UseKind.MOUNTED, name="/"),))
    table = replace(disk.table, partitions=(disk.table.partitions[0], used, *others))
    lines = lines_of(choices_of(replace(disk, table=table)))
    assert "/" in lines["the whole disk: everything on it is erased"]
    assert lines['only sda4 (32 GB, ext4 "old"): it is erased'] == ""


def test_a_disk_where_nothing_is_possible_cannot_be_chosen() -> None:
    choices = choices_of(replace(make_disk(), read_only=True))
    (disk,) = choices.list_disks()
    assert disk.why_not
    assert choices.list_parts("/dev/sdx") == ()


def test_what_is_chosen_is_what_the_planner_takes(tmp_path: Path) -> None:
    (tmp_path / "by-id").symlink_to("/dev/null")
    answer = TargetAnswer(kind="free_space", device=str(tmp_path / "by-id"), home="/dev/zero")
    assert target_of(answer) == Target(
        kind=TargetKind.FREE_SPACE, device=Path("/dev/null"), home=Path("/dev/zero")
    )


def test_settings_in_words() -> None:
    settings = Settings(
        user=UserSettings(name="ada", password="geheim", gecos="Ada\x1b[2J Lovelace"),
        hostname="reef",
        timezone="Europe/Berlin",
        keyboard=KeyboardLayout(layout="de", variant="neo"),
        wifi=WifiSettings(ssid="reef", passphrase="geheim"),
        address=AddressSettings(interface="lan", address="192.0.2.7/24"),
    )
    text = format_settings(settings, follow="store:hello", notes=("something",))
    assert text == (
        "The new machine\n"
        "  user      ada (Ada\\x1b[2J Lovelace)\n"
        "  host name reef\n"
        "  time zone Europe/Berlin\n"
        "  keyboard  de neo\n"
        "  Wi-Fi     reef\n"
        "  address   192.0.2.7/24 on lan\n"
        "  upgrades  store:hello\n"
        "Note: something\n"
    )
