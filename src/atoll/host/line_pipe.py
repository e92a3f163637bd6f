"""A pipe whose other end is a function: it gets each line that programs write to the pipe."""

from __future__ import annotations

import os
import re
import threading
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHUNK = 1 << 16
_LONGEST = 1 << 12
"""Bytes of a line; a longer one is cut into several."""
_BREAKS = re.compile(rb"[\r\n]+")


@contextmanager
def line_pipe(take: Callable[[str], None]) -> Iterator[IO[bytes]]:
    """What a program gets as its output. ``take`` is called in another thread, with lines without
    their breaks; invalid UTF-8 is replaced.

    The block must end all programs that it gave the pipe to.
    """
    read_end, write_end = os.pipe()
    with (
        os.fdopen(read_end, "rb", buffering=0) as source,
        os.fdopen(write_end, "wb", buffering=0) as output,
    ):
        thread = threading.Thread(target=_copy, args=(source, take), daemon=True)
        thread.start()
        try:
            yield output
        finally:
            output.close()
            thread.join()


def _copy(source: IO[bytes], take: Callable[[str], None]) -> None:
    rest = b""

    def give(line: bytes) -> None:
        # Without a reader of the lines the program must still be able to write.
        with suppress(OSError, ValueError):
            take(line.decode(errors="replace"))

    while chunk := source.read(_CHUNK):
        *lines, rest = _BREAKS.split(rest + chunk)
        while len(rest) > _LONGEST:
            lines.append(rest[:_LONGEST])
            rest = rest[_LONGEST:]
        for line in lines:
            give(line)
    if rest:
        give(rest)
