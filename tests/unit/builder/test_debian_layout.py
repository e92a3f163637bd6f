"""Atoll's shape and back again, part by part, without a package system."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.base.errors import Damaged
from atoll.builder.finish.debian_layout import to_debian_layout
from atoll.builder.finish.image_layout import (
    drop_var,
    move_marks,
    move_opt,
    move_state,
    move_tree_var,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLACES = (
    "var/lib/dpkg/status",
    "var/lib/dpkg/info/a.list",
    "var/lib/apt/extended_states",
    "var/lib/systemd/catalog/database",
    "var/lib/systemd/x",
    "var/lib/misc/state",
    "var/opt/y/z",
    "opt/y/bin/run",
    "opt/x",
    "home/ann/.profile",
    "root/.bashrc",
    "srv/www",
    "usr/bin/sh",
    "var/cache/debconf/config.dat",
    "var/lib/ucf/hashfile",
    "var/spool/a",
)
TOP = (
    "boot",
    "dev",
    "efi",
    "home",
    "media",
    "mnt",
    "opt",
    "root",
    "srv",
    "usr/local",
    "var",
    "usr/lib/atoll",
    "usr/lib/tmpfiles.d",
    "var/lib/apt",
    "var/log",
    "usr/local/bin",
)


WRITTEN = ("tree-owned", "60atoll-marks")
"""Written anew by shaping, so the epoch is their time in a tree."""


def make(root: Path, files: list[str]) -> None:
    for name in TOP:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
        os.utime(root / name, (0, 1_600_000_000))


def shape(root: Path) -> None:
    """What ``to_image_layout`` does, without what needs a package system or root."""
    move_opt(root)
    move_marks(root)
    drop_var(root)
    move_tree_var(root)
    move_state(root)
    for name in ("home", "media", "mnt", "opt", "root", "srv", "usr/local", "var"):
        (root / name).mkdir(exist_ok=True)


def look(root: Path) -> dict[str, tuple[int, float | None, bytes]]:
    """Every path with its mode, and a file's time and content."""
    return {
        str(path.relative_to(root)): (
            path.stat().st_mode,
            path.stat().st_mtime if path.is_file() and path.name not in WRITTEN else None,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(root.rglob("*"))
    }


@settings(max_examples=15)
@given(st.lists(st.sampled_from(PLACES), unique=True))
def test_shaping_what_was_unshaped_gives_the_same(
    tmp_path_factory: pytest.TempPathFactory, files: list[str]
) -> None:
    root = tmp_path_factory.mktemp("root")
    make(root, files)
    shape(root)
    once = look(root)
    to_debian_layout(root)
    shape(root)
    assert look(root) == once


def test_packages_find_everything_where_it_was(tmp_path: Path) -> None:
    make(tmp_path, list(PLACES))
    before = look(tmp_path)
    shape(tmp_path)
    assert not (tmp_path / "var/lib").exists()
    to_debian_layout(tmp_path)
    after = look(tmp_path)
    assert {path for path in before if after.get(path) != before[path]} == set()
    assert set(after) - set(before) <= {"etc", "etc/apt", "etc/apt/apt.conf.d"}


@pytest.mark.parametrize(
    "break_",
    [
        lambda root: (root / "usr/lib/atoll/factory").rename(root / "elsewhere"),
        lambda root: (root / "usr/lib/atoll/tree-owned").unlink(),
    ],
)
def test_what_is_of_another_shape_is_told(tmp_path: Path, break_: Callable[[Path], object]) -> None:
    make(tmp_path, list(PLACES))
    shape(tmp_path)
    break_(tmp_path)
    with pytest.raises(Damaged, match="Atoll did not build it"):
        to_debian_layout(tmp_path)
