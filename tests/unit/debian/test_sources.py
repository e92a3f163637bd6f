"""What is read of apt's configuration and of Release files."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.base.errors import Damaged
from atoll.debian.sources import (
    Archive,
    digest_of_lists,
    parse_host_options,
    parse_release_date,
    read_epoch,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_only_how_to_reach_a_mirror_is_taken_from_the_machine() -> None:
    dump = (
        'APT::Architecture "amd64";\n'
        'Acquire::Check-Valid-Until "false";\n'
        'Acquire::http::Proxy "http://proxy:3128";\n'
        'Acquire::https::Proxy::host.example "DIRECT";\n'
        'Dir::Cache "var/cache/apt";\n'
    )
    assert parse_host_options(dump) == (
        'Acquire::Check-Valid-Until "false";',
        'Acquire::http::Proxy "http://proxy:3128";',
        'Acquire::https::Proxy::host.example "DIRECT";',
    )


@given(st.integers(min_value=0, max_value=4_000_000_000))
@settings(deadline=None, max_examples=50)
def test_the_date_of_a_release_file(seconds: int) -> None:
    date = datetime.fromtimestamp(seconds, UTC).strftime("%a, %d %b %Y %H:%M:%S UTC")
    assert parse_release_date(f"Origin: Debian\nDate: {date}\nSuite: stable\n") == seconds


@pytest.mark.parametrize("text", ["", "Origin: Debian\n", "Date: yesterday\n"])
def test_a_release_file_without_a_date_is_damaged(text: str) -> None:
    with pytest.raises(Damaged):
        parse_release_date(text)


def test_the_epoch_is_the_newest_release(tmp_path: Path) -> None:
    (tmp_path / "a_dists_trixie_InRelease").write_text("Date: Sat, 09 Aug 2025 09:00:00 UTC\n")
    (tmp_path / "b_dists_trixie_Release").write_text("Date: Sun, 10 Aug 2025 09:00:00 UTC\n")
    assert read_epoch(tmp_path) == 1754816400


def test_the_digest_covers_names_and_contents_of_package_lists(tmp_path: Path) -> None:
    (tmp_path / "a_Packages").write_text("Package: hello\n")
    first = digest_of_lists(tmp_path)
    (tmp_path / "a_InRelease").write_text("Date: now\n")
    assert digest_of_lists(tmp_path) == first
    (tmp_path / "a_Packages").write_text("Package: hello2\n")
    assert digest_of_lists(tmp_path) != first


def test_archives_that_differ_have_other_ids() -> None:
    plain = Archive(suite="trixie", components=("main",), architecture="amd64")
    ids = {
        plain.id(),
        Archive(suite="sid", components=("main",), architecture="amd64").id(),
        Archive(suite="trixie", components=("main", "contrib"), architecture="amd64").id(),
        Archive(suite="trixie", components=("main",), architecture="arm64").id(),
        Archive(suite="trixie", components=("main",), architecture="amd64", mirror="x").id(),
    }
    assert len(ids) == 5
