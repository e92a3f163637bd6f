"""Symbolic links in a root are resolved as in a chroot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atoll.host.in_root import (
    exists_in_root,
    glob_in_root,
    in_root,
    make_directories,
    read_bytes,
    read_text,
    write_text,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root, and beside it a directory of the host with a secret."""
    (tmp_path / "machine").mkdir()
    (tmp_path / "machine/secret").write_text("secret")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    return root


@pytest.mark.parametrize("up", ["", "../../../../.."])
def test_a_link_never_leads_out(root: Path, up: str) -> None:
    machine = root.parent / "machine"
    (root / "etc/out").symlink_to(f"{up}{machine}")
    assert in_root(root, "etc/out/secret") == root / str(machine)[1:] / "secret"
    assert not exists_in_root(root, "etc/out/secret")
    assert read_text(root, "etc/out/secret", missing="none") == "none"
    assert glob_in_root(root, "etc/out", "*") == []


def test_a_path_with_dots_stays_below_the_root(root: Path) -> None:
    assert in_root(root, "../../machine/secret") == root / "machine/secret"
    assert in_root(root, "/etc/../../x") == root / "x"


def test_links_within_the_root_are_followed(root: Path) -> None:
    (root / "usr/lib").mkdir(parents=True)
    (root / "usr/lib/os-release").write_text("NAME=x")
    (root / "lib").symlink_to("usr/lib")
    (root / "etc/os-release").symlink_to("/lib/os-release")
    assert in_root(root, "etc/os-release") == root / "usr/lib/os-release"
    assert in_root(root, "etc/os-release", follow=False) == root / "etc/os-release"
    assert read_text(root, "/etc/os-release") == "NAME=x"


def test_what_is_written_is_written_in_the_root(root: Path) -> None:
    secret = root.parent / "machine/secret"
    (root / "etc/fstab").symlink_to(secret)
    (root / "etc/conf.d").symlink_to(secret.parent)
    write_text(root, "etc/fstab", "new")
    write_text(root, "etc/conf.d/secret", "new", mode=0o600)
    make_directories(root, "etc/conf.d/folder")
    assert secret.read_text() == "secret"
    assert [path.name for path in secret.parent.iterdir()] == ["secret"]
    assert (root / "etc/fstab").read_text() == "new"
    assert not (root / "etc/fstab").is_symlink()


def test_links_in_a_circle_are_an_error_and_no_file(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with pytest.raises(OSError, match="levels of symbolic links"):
        in_root(root, "a/x")
    assert not exists_in_root(root, "a")


def test_a_pipe_is_no_file(root: Path) -> None:
    import os

    os.mkfifo(root / "etc/pipe")
    with pytest.raises(FileNotFoundError):
        read_bytes(root, "etc/pipe")
