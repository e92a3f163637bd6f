"""Archives for the kernel's initrd, read back by the real cpio."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.tree.cpio import format_cpio

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"etc/atoll/keyboard.kmap": b"keymaps 0-127\n", "etc/odd": b"x" * 511, "empty": b""}


@pytest.mark.skipif(shutil.which("cpio") is None, reason="needs cpio")
def test_cpio_unpacks_what_was_written(tmp_path: Path) -> None:
    subprocess.run(
        ["cpio", "--quiet", "--extract", "--format=newc", "--no-absolute-filenames"],
        input=format_cpio(FILES),
        cwd=tmp_path,
        check=True,
    )
    found = {
        str(path.relative_to(tmp_path)): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert found == FILES
    assert (tmp_path / "etc").stat().st_mode & 0o777 == 0o755


@given(st.binary(max_size=2000))
def test_each_archive_ends_where_the_next_can_begin(content: bytes) -> None:
    archive = format_cpio({"etc/a": content})
    assert len(archive) % 512 == 0
    assert archive == format_cpio({"etc/a": content})
    assert archive.startswith(b"070701")
    assert content in archive
