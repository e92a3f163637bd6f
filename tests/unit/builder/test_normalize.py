"""Traces of a build, and presets that say what links say."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.base.errors import Refused
from atoll.builder.finish.normalize import (
    check_clock,
    clamp_bytecode_times,
    format_shadow_dates,
    set_resolver,
)
from atoll.builder.finish.presets import (
    drop_dangling,
    format_presets,
    parse_enabled,
    read_instances,
    read_renamed,
)

if TYPE_CHECKING:
    from pathlib import Path

PYC = struct.Struct("<4sII")


def test_the_day_of_the_build_is_not_in_shadow() -> None:
    text = "root:*:20410:0:99999:7:::\nnever::0:0:99999:7:::\nempty:!::::::\n"
    assert format_shadow_dates(text, 20000) == (
        "root:*:20000:0:99999:7:::\nnever::0:0:99999:7:::\nempty:!::::::\n"
    )


def test_a_clock_behind_the_epoch_is_refused() -> None:
    """Files made by the build would carry its time, which is not the epoch."""
    check_clock(1000, now=1000.5)
    with pytest.raises(Refused, match=r"epoch, 1970-01-01 00:16:40 UTC") as caught:
        check_clock(1000, now=999.5)
    assert "set the clock" in str(caught.value.hint)


@given(st.integers(min_value=0, max_value=2**32 - 1), st.sampled_from([0, 1, 3]))
@settings(max_examples=30)
def test_bytecode_fits_its_clamped_source(tmp_path_factory: object, time: int, flags: int) -> None:
    assert hasattr(tmp_path_factory, "mktemp")
    usr: Path = tmp_path_factory.mktemp("usr")
    path = usr / "lib/__pycache__/m.cpython-313.pyc"
    path.parent.mkdir(parents=True)
    path.write_bytes(PYC.pack(b"abcd", flags, time) + b"rest")
    clamp_bytecode_times(usr, 1000)
    magic, same, now = PYC.unpack(path.read_bytes()[: PYC.size])
    assert (magic, same) == (b"abcd", flags)
    assert now == (min(time, 1000) if flags == 0 else time)
    assert path.read_bytes().endswith(b"rest")


def test_a_short_bytecode_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "__pycache__/m.pyc"
    path.parent.mkdir()
    path.write_bytes(b"abc")
    clamp_bytecode_times(tmp_path, 1000)
    assert path.read_bytes() == b"abc"


def test_the_resolver_is_the_one_the_tree_has(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/resolv.conf").write_text("nameserver 192.0.2.1\n")
    set_resolver(tmp_path)
    assert not (tmp_path / "etc/resolv.conf").exists()
    (tmp_path / "usr/lib/systemd").mkdir(parents=True)
    (tmp_path / "usr/lib/systemd/systemd-resolved").write_text("")
    set_resolver(tmp_path)
    target = (tmp_path / "etc/resolv.conf").readlink()
    assert str(target) == "../run/systemd/resolve/stub-resolv.conf"


def test_presets_name_what_is_enabled_and_its_instances(tmp_path: Path) -> None:
    wants = tmp_path / "etc/systemd/system/getty.target.wants"
    wants.mkdir(parents=True)
    (wants / "getty@tty1.service").symlink_to("/usr/lib/systemd/system/getty@.service")
    (wants / "getty@tty2.service").symlink_to("/usr/lib/systemd/system/getty@.service")
    listing = (
        "getty@.service enabled enabled\nssh.service enabled enabled\nx.service disabled enabled\n"
    )
    assert format_presets(parse_enabled(listing), read_instances(tmp_path)).splitlines()[1:] == [
        "enable getty@.service tty1 tty2",
        "enable ssh.service",
        "disable *",
    ]


def test_an_instance_of_a_template_that_is_not_enabled_itself_stays(tmp_path: Path) -> None:
    """``disable *`` took it away."""
    wants = tmp_path / "etc/systemd/system/getty.target.wants"
    wants.mkdir(parents=True)
    unit = "/usr/lib/systemd/system/serial-getty@.service"
    (wants / "serial-getty@ttyS1.service").symlink_to(unit)
    enabled = parse_enabled("serial-getty@.service indirect enabled\n")
    assert format_presets(enabled, read_instances(tmp_path)).splitlines()[1:] == [
        "enable serial-getty@.service ttyS1",
        "disable *",
    ]


def test_another_name_of_a_unit_that_cannot_be_enabled_stays(tmp_path: Path) -> None:
    """``disable *`` took display-manager.service away, so gdm.service did not start."""
    names, units = tmp_path / "etc/systemd/system", tmp_path / "usr/lib/systemd/system"
    (tmp_path / "lib").symlink_to("usr/lib")
    for folder in (names, units):
        folder.mkdir(parents=True)
    for name in ("gdm.service", "sddm.service"):
        (units / name).write_text("")
    (units / "gdm3.service").symlink_to("gdm.service")
    (names / "display-manager.service").symlink_to("/lib/systemd/system/gdm3.service")
    (names / "other.service").symlink_to("/usr/lib/systemd/system/sddm.service")
    (names / "masked.service").symlink_to("/dev/null")
    (names / "lost.service").symlink_to("lost.service")
    renamed = read_renamed(tmp_path)
    assert renamed == {"gdm.service", "sddm.service"}
    assert format_presets(["sddm.service"], {}, renamed).splitlines()[1:] == [
        "enable sddm.service",
        "ignore gdm.service",
        "disable *",
    ]


def test_dangling_links_go_and_others_stay(tmp_path: Path) -> None:
    units = tmp_path / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    (units / "here.service").write_text("")
    (units / "many@.service").write_text("")
    requires = tmp_path / "etc/systemd/system/multi-user.target.requires"
    requires.mkdir(parents=True)
    alone = tmp_path / "etc/systemd/system/other.target.wants"
    alone.mkdir()
    for name in ("here.service", "many@one.service", "retired.service"):
        (requires / name).symlink_to(f"/usr/lib/systemd/system/{name}")
    (alone / "retired.service").symlink_to("/usr/lib/systemd/system/retired.service")
    assert drop_dangling(tmp_path) == (
        "/etc/systemd/system/multi-user.target.requires/retired.service",
        "/etc/systemd/system/other.target.wants/retired.service",
    )
    assert sorted(path.name for path in requires.iterdir()) == ["here.service", "many@one.service"]
    assert not alone.exists()
