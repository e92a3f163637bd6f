"""A log of limited size keeps the end of what a program writes, and says how much it dropped."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import ProgramFailed
from atoll.builder.steps.bounded_log import append_bounded, bounded_log
from atoll.host.run import run

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 1 << 12


def test_a_short_output_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with bounded_log(path, limit=LIMIT) as log:
        assert run(["sh", "-c", "echo out; echo err >&2"], log=log.output) == b""
    assert (path.read_text(), log.cut) == ("out\nerr\n", 0)


def test_of_a_long_output_the_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "log"
    program = ["sh", "-c", "seq 100000; echo the reason >&2; exit 3"]
    with pytest.raises(ProgramFailed) as raised, bounded_log(path, limit=LIMIT) as log:
        run(program, log=log.output)
    kept = path.read_bytes()
    whole = "".join(f"{number}\n" for number in range(1, 100001)).encode() + b"the reason\n"
    assert raised.value.status == 3
    assert len(kept) <= LIMIT
    assert whole.endswith(kept)
    assert log.cut == len(whole) - len(kept)


def test_a_full_disk_does_not_block_the_program(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"), bounded_log(path, limit=LIMIT) as log:
        run(["seq", "100000"], log=log.output)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=30), st.integers(2, 64))
def test_what_is_kept_is_the_end(chunks: list[bytes], limit: int) -> None:
    file = io.BytesIO()
    cut = sum(append_bounded(file, chunk, limit) for chunk in chunks)
    kept, whole = file.getvalue(), b"".join(chunks)
    assert len(kept) <= limit
    assert whole.endswith(kept)
    assert cut + len(kept) == len(whole)
    assert cut == 0 or len(kept) >= limit // 2
