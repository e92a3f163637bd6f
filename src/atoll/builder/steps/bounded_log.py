"""A log file of limited size: it keeps the end of what a program writes.

The last lines tell why a program failed, so the beginning goes when the limit is reached. The
program writes to a pipe, and a thread copies it into the file.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT = 16 << 20
"""Bytes of a log on disk, at most."""

_CHUNK = 1 << 16


class BoundedLog:
    """``output`` is what a program gets as stdout and stderr; ``cut`` is how many bytes
    were removed from the beginning, known when the program has ended."""

    def __init__(self, output: IO[bytes]) -> None:
        self.output = output
        self.cut = 0


@contextmanager
def bounded_log(path: Path, *, limit: int = LIMIT) -> Iterator[BoundedLog]:
    """Write the output of a program to ``path``, of which at most ``limit`` bytes are kept.

    The block must end all programs that it gave ``output`` to. Raises OSError at its end when the
    file could not be written.
    """
    read_end, write_end = os.pipe()
    with (
        os.fdopen(read_end, "rb", buffering=0) as source,
        os.fdopen(write_end, "wb", buffering=0) as output,
        path.open("w+b", buffering=0) as file,
    ):
        log = BoundedLog(output)
        failures: list[OSError] = []

        def copy() -> None:
            while chunk := source.read(_CHUNK):
                if failures:
                    continue  # keep reading, or the program would wait for the pipe for ever
                try:
                    log.cut += append_bounded(file, chunk, limit)
                except OSError as error:
                    failures.append(error)

        thread = threading.Thread(target=copy, daemon=True)
        thread.start()
        try:
            yield log
        finally:
            output.close()
            thread.join()
        if failures:
            raise failures[0]


def append_bounded(file: IO[bytes], chunk: bytes, limit: int) -> int:
    """Append to ``file``; how many bytes were removed from its beginning to stay in ``limit``.

    When the limit is reached, only the last half is kept: each byte is then moved at most once, on
    average, however much the program writes.
    """
    file.seek(0, os.SEEK_END)
    size = file.tell()
    if size + len(chunk) <= limit:
        file.write(chunk)
        return 0
    keep = min(max(limit // 2 - len(chunk), 0), size)
    file.seek(size - keep)
    rest = (file.read(keep) + chunk)[-(limit // 2) :]
    file.seek(0)
    file.write(rest)
    file.truncate()
    return size + len(chunk) - len(rest)
