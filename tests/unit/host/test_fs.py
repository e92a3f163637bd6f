"""Reading untrusted files: limits on size and memory."""

from __future__ import annotations

import fcntl
import gzip
import threading
from pathlib import Path

import pytest

from atoll.base.errors import Damaged
from atoll.host.fs import read_at_most, read_regular, take_lock

HUGE = 1 << 50
"""More bytes than any computer can allocate."""


def test_a_limit_takes_no_memory(tmp_path: Path) -> None:
    """``read(limit)`` allocates ``limit`` bytes: bless failed on a machine with 512 MB."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    assert read_regular(path, limit=HUGE) == b"content"


def test_what_is_compressed_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(b"0" * 3_000_000))
    with path.open("rb") as packed, gzip.GzipFile(fileobj=packed) as file:
        assert read_at_most(file, HUGE) == b"0" * 3_000_000
    with path.open("rb") as packed, gzip.GzipFile(fileobj=packed) as file:
        assert read_at_most(file, 2_000_000) == b"0" * 2_000_000


def test_a_file_of_the_kernel_is_read_to_its_end() -> None:
    with Path("/proc/self/status").open("rb") as file:
        assert b"VmRSS" in read_at_most(file, HUGE)


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11])
def test_more_than_the_limit_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    if size <= 10:
        assert len(read_regular(path, limit=10)) == size
    else:
        with pytest.raises(Damaged, match="larger than 10 bytes"):
            read_regular(path, limit=10)


def test_a_lock_is_waited_for_and_not_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("w") as other, path.open("w") as mine:
        assert take_lock(other.fileno(), fcntl.LOCK_EX, seconds=0)
        assert not take_lock(mine.fileno(), fcntl.LOCK_EX, seconds=0)
        assert not take_lock(mine.fileno(), fcntl.LOCK_SH, seconds=0.1)
        freed = threading.Timer(0.1, fcntl.flock, (other.fileno(), fcntl.LOCK_UN))
        freed.start()
        assert take_lock(mine.fileno(), fcntl.LOCK_EX, seconds=60)
        freed.join()
