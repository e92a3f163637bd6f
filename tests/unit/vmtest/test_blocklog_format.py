"""The write log's format, from bytes made here; tests/programs has QEMU write one."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmtest import MachineError
from vmtest.blocklog import MAGIC, Entry, Flag, flush_points, parse_log, read_log, replay

if TYPE_CHECKING:
    from pathlib import Path

SECTOR = 512
PLAIN = Flag(0)


def format_log(entries: list[Entry]) -> bytes:
    parts = [struct.pack("<QQQL", MAGIC, 1, len(entries), SECTOR).ljust(SECTOR, b"\0")]
    for entry in entries:
        words = (entry.offset // SECTOR, entry.size // SECTOR, entry.flags, 0)
        parts += [struct.pack("<QQQQ", *words).ljust(SECTOR, b"\0"), entry.data]
    return b"".join(parts)


def write(sector: int, letter: bytes, *, flags: Flag = PLAIN) -> Entry:
    return Entry(flags=flags, offset=sector * SECTOR, size=SECTOR, data=letter * SECTOR)


FLUSH = Entry(flags=Flag.FLUSH, offset=0, size=0)
DISCARD = Entry(flags=Flag.DISCARD, offset=0, size=2 * SECTOR)
ENTRIES = st.lists(
    st.one_of(
        st.builds(
            write,
            st.integers(0, 1000),
            st.binary(min_size=1, max_size=1),
            flags=st.sampled_from([PLAIN, Flag.FUA]),
        ),
        st.sampled_from([FLUSH, DISCARD]),
    )
)


@given(ENTRIES)
def test_a_log_reads_as_it_was_written(entries: list[Entry]) -> None:
    assert parse_log(io.BytesIO(format_log(entries))) == entries


@given(ENTRIES.filter(bool), st.data())
def test_a_cut_log_is_refused(entries: list[Entry], data: st.DataObject) -> None:
    whole = format_log(entries)
    size = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(MachineError, match="the write log is"):
        parse_log(io.BytesIO(whole[:size]))


def test_another_file_is_refused() -> None:
    with pytest.raises(MachineError, match="of another kind"):
        parse_log(io.BytesIO(b"x" * 4096))


def test_replay_makes_each_state_again(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(format_log([write(0, b"a"), FLUSH, write(1, b"b"), DISCARD]))
    log = read_log(tmp_path / "log")
    image = tmp_path / "image"
    image.write_bytes(b"-" * 3 * SECTOR)
    assert flush_points(log) == [2]
    replay(log[:2], image)
    assert image.read_bytes() == b"a" * SECTOR + b"-" * 2 * SECTOR
    replay(log[2:3], image)
    assert image.read_bytes() == b"a" * SECTOR + b"b" * SECTOR + b"-" * SECTOR
    replay(log[3:], image)
    assert image.read_bytes() == bytes(2 * SECTOR) + b"-" * SECTOR
