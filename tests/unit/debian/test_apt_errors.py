"""Recorded output of apt and dpkg becomes errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import (
    ArchiveError,
    AtollError,
    Damaged,
    NetworkError,
    NoSpace,
    PackageError,
    ProgramFailed,
)
from atoll.debian.apt_errors import explain_failure

if TYPE_CHECKING:
    from pathlib import Path

CASES: list[tuple[str, type[AtollError], str]] = [
    ("E: Unable to locate package pyton3", PackageError, "trixie has no package pyton3"),
    (
        "Package foo is not available\nE: Package 'foo' has no installation candidate",
        PackageError,
        "trixie has no package foo",
    ),
    (
        "Err:1 http://mirror.example trixie InRelease\n"
        "  Temporary failure resolving 'mirror.example'\n"
        "E: Failed to fetch http://mirror.example/x",
        NetworkError,
        "cannot be reached",
    ),
    (
        "E: Release file for http://m.example/dists/trixie/InRelease is not valid yet (invalid for"
        " another 3h 2min 1s). Updates for this repository will not be applied.",
        ArchiveError,
        "m.example/dists/trixie/InRelease becomes valid only in 3h 2min 1s",
    ),
    (
        "E: Release file for http://m.example/dists/sid/InRelease is expired (invalid since 9d 2h"
        " 1min 4s). Updates for this repository will not be applied.",
        ArchiveError,
        "expired 9d 2h 1min 4s ago",
    ),
    (
        "W: GPG error: http://m.example sid InRelease: The following signatures were invalid:"
        " EXPKEYSIG 0123456789ABCDEF Archive <a@example.org>\n"
        "E: The repository 'http://m.example sid InRelease' is not signed.",
        ArchiveError,
        "key of the repository http://m.example sid has expired: Archive <a@example.org>",
    ),
    ("E: You don't have enough free space in /var/cache/apt/archives/.", NoSpace, "no space"),
    (
        "dpkg: error processing archive x.deb (--unpack):\n cannot write: No space left on device",
        NoSpace,
        "no space",
    ),
    (
        "installed broken package post-installation script returned error exit status 1\n"
        "dpkg: error processing package broken (--configure):\n",
        PackageError,
        "broken failed to install",
    ),
    (
        "The following packages have unmet dependencies:\n a : Depends: b",
        PackageError,
        "cannot be installed together",
    ),
    (
        "E: The repository 'http://m.example nosuch Release' does not have a Release file.",
        PackageError,
        "does not have the suite nosuch",
    ),
    (
        "W: Invalid 'Date' entry in Release file lists/x\n"
        "E: Failed to fetch http://m.example/Packages.xz  File has unexpected size (1 != 2).",
        Damaged,
        "Release file\n    E: Failed to fetch http://m.example/Packages.xz",
    ),
    ("E: something new", PackageError, "apt-get failed"),
]


@pytest.mark.parametrize(("said", "kind", "words"), CASES)
def test_words_become_an_error_of_their_class(
    said: str, kind: type[AtollError], words: str
) -> None:
    failed = ProgramFailed(["setpriv", "apt-get", "install"], 100, said)
    error = explain_failure(failed, suite="trixie")
    assert type(error) is kind
    assert words in error.message


def test_an_unknown_package_is_told_with_near_names() -> None:
    failed = ProgramFailed(["apt-get"], 100, "E: Unable to locate package pyton3")
    error = explain_failure(failed, suite="trixie", known=["python3", "perl", "vim"])
    assert error.hint == "did you mean python3?"


def test_the_whole_log_is_read_and_named(tmp_path: Path) -> None:
    log = tmp_path / "packages.log"
    log.write_text("dpkg: error processing package early (--configure):\n" + "more\n" * 50)
    error = explain_failure(ProgramFailed(["apt-get"], 100, "more"), suite="trixie", log=log)
    assert "early failed to install" in error.message
    assert str(log) in error.message
