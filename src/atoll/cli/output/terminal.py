"""Everything on stdout and stderr goes through here, and control characters are escaped.

So no text from outside can control the terminal, whether a verb, a library or Python prints it.
``trusted_stream`` bypasses this for Atoll's own redrawing of lines.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, TextIO, cast

from atoll.base.errors import UsageError
from atoll.base.text import escape

if TYPE_CHECKING:
    from collections.abc import Iterator


_COLOURS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "not checked": "\x1b[1;33m"}
_PLAIN = "\x1b[0m"


class SafeStream(io.TextIOBase):
    """Writes to another text stream, with control characters and unencodable characters escaped."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.stream = stream

    def write(self, text: str) -> int:  # type: ignore[explicit-override]
        self.stream.write(encodable(escape(text), self.stream))
        return len(text)

    def flush(self) -> None:  # type: ignore[explicit-override]
        # The garbage collector flushes this object, maybe after the stream below was closed.
        if not self.stream.closed:
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
    """Wrap stdout and stderr in ``SafeStream`` while the context lasts."""
    with ExitStack() as stack:
        if sys.stdout is not None:
            stack.enter_context(redirect_stdout(cast("TextIO", SafeStream(sys.stdout))))
        if sys.stderr is not None:
            stack.enter_context(redirect_stderr(cast("TextIO", SafeStream(sys.stderr))))
        yield


def trusted_stream(stream: TextIO) -> TextIO:
    """The stream without escaping, for Atoll's own control sequences."""
    return stream.stream if isinstance(stream, SafeStream) else stream


def has_colour(stream: TextIO) -> bool:
    """Whether to use colours: on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def print_marked(mark: str, text: str, stream: TextIO) -> None:
    """Print ``atoll: MARK: TEXT``; on a terminal with colours the mark is coloured."""
    plain = trusted_stream(stream)
    shown = f"{_COLOURS[mark]}{mark}{_PLAIN}" if mark in _COLOURS and has_colour(plain) else mark
    plain.write(f"atoll: {shown}: {encodable(escape(text), plain)}\n")
    plain.flush()


def encodable(text: str, stream: TextIO) -> str:
    """``text`` with backslash escapes for characters that the stream's encoding lacks."""
    name = stream.encoding or "utf-8"
    return text.encode(name, "backslashreplace").decode(name)


def write_result(data: bytes) -> None:
    """Write bytes to stdout: unchanged into a file or a pipe, as escaped text on a terminal."""
    stream = trusted_stream(sys.stdout)
    if stream.isatty():
        sys.stdout.write(data.decode(errors="surrogateescape"))
        return
    stream.flush()
    stream.buffer.write(data)


def has_terminal() -> bool:
    """Whether a person can be asked questions. Raises UsageError on a terminal that cannot move its
    cursor."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    if os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        raise UsageError(
            "questions need a terminal that can move its cursor; TERM says that this one cannot",
            hint="if it can: TERM=vt220 atoll install; otherwise: --answers FILE, or --disk DEV",
        )
    return True
