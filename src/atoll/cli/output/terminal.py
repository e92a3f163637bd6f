"""The one way out: all text for stdout and stderr goes through here, so that nothing in it steers
the terminal, whatever a verb, a library or Python itself writes.

Atoll's own redrawing of a line goes past it: ``trusted_stream``.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, TextIO, cast

from atoll.base.text import escape

if TYPE_CHECKING:
    from collections.abc import Iterator


_COLOURS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "not checked": "\x1b[1;33m"}
_PLAIN = "\x1b[0m"


class SafeStream(io.TextIOBase):
    """Writes to another stream of text: escaped, and in characters that the stream has."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.stream = stream

    def write(self, text: str) -> int:  # type: ignore[explicit-override]
        self.stream.write(encodable(escape(text), self.stream))
        return len(text)

    def flush(self) -> None:  # type: ignore[explicit-override]
        self.stream.flush()

    def isatty(self) -> bool:  # type: ignore[explicit-override]
        return self.stream.isatty()

    def fileno(self) -> int:  # type: ignore[explicit-override]
        return self.stream.fileno()

    def writable(self) -> bool:  # type: ignore[explicit-override]
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override, explicit-override]
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override, explicit-override]
        return self.stream.errors


@contextmanager
def safe_streams() -> Iterator[None]:
    """stdout and stderr are safe while the context lasts."""
    with ExitStack() as stack:
        if sys.stdout is not None:
            stack.enter_context(redirect_stdout(cast("TextIO", SafeStream(sys.stdout))))
        if sys.stderr is not None:
            stack.enter_context(redirect_stderr(cast("TextIO", SafeStream(sys.stderr))))
        yield


def trusted_stream(stream: TextIO) -> TextIO:
    """The stream itself, for text of Atoll's that redraws a line."""
    return stream.stream if isinstance(stream, SafeStream) else stream


def has_colour(stream: TextIO) -> bool:
    """On a terminal, unless NO_COLOR says otherwise (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def print_marked(mark: str, text: str, stream: TextIO) -> None:
    """``atoll: MARK: TEXT``; where the terminal has colours, the word of a known mark has one."""
    plain = trusted_stream(stream)
    shown = f"{_COLOURS[mark]}{mark}{_PLAIN}" if mark in _COLOURS and has_colour(plain) else mark
    plain.write(f"atoll: {shown}: {encodable(escape(text), plain)}\n")
    plain.flush()


def encodable(text: str, stream: TextIO) -> str:
    """``text`` in characters that ``stream`` can write; others are spelled out."""
    name = stream.encoding or "utf-8"
    return text.encode(name, "backslashreplace").decode(name)


def write_result(data: bytes) -> None:
    """Print bytes that are a result: as they are into a file or a pipe, as text on a terminal."""
    stream = trusted_stream(sys.stdout)
    if stream.isatty():
        sys.stdout.write(data.decode(errors="surrogateescape"))
        return
    stream.flush()
    stream.buffer.write(data)
