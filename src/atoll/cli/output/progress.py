"""Progress on stderr: steps with their durations, progress lines, notices.

On a terminal, the last line shows the current step and is redrawn in place; otherwise every line is
printed once. ``clock`` and ``live`` are parameters, so that tests can cover both forms.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from atoll.base.report import NullReporter, Reporter
from atoll.base.text import cut, escape, one_line
from atoll.cli.output.terminal import encodable, trusted_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WIDTH = 80
_REDRAW_SECONDS = 0.1
_LOG_SECONDS = 10.0
_CLEAR = "\r\x1b[K"
_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB")


def reporter_for(stream: TextIO, *, quiet: bool) -> Reporter:
    if quiet:
        return NullReporter()
    return StreamReporter(trusted_stream(stream), live=stream.isatty())


@dataclass(slots=True)
class _Step:
    title: str
    begun: float
    open_line: bool = False
    """Whether the last line of the terminal shows this step."""
    first: tuple[float, int] | None = None
    """The time and the amount of its first progress report."""
    printed: float = 0.0
    """When progress was printed last."""
    progress: str = ""


class StreamReporter:
    """``live``: the stream is a terminal whose last line can be redrawn."""

    def __init__(
        self, stream: TextIO, *, live: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._live = live
        self._clock = clock
        self._steps: list[_Step] = []

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        self._leave_line()
        step = _Step(title=one_line(title), begun=self._clock())
        self._steps.append(step)
        self._begin_line(step)
        ended = "stopped after "
        try:
            yield
            ended = ""
        except Exception:
            ended = "failed after "
            raise
        finally:
            duration = format_seconds(self._clock() - step.begun)
            self._line(step, f"{ended}{duration}")
            self._steps.pop()

    def progress(self, done: int, total: int | None, *, unit: str) -> None:
        if not self._steps:
            return
        step = self._steps[-1]
        now = self._clock()
        if step.first is None:
            step.first = (now, done)
            step.printed = now
            if not self._live:
                return
        elif now - step.printed < (_REDRAW_SECONDS if self._live else _LOG_SECONDS):
            return
        step.printed = now
        step.progress = format_progress(done, total, unit=unit, since=step.first, now=now)
        if self._live:
            self._begin_line(step)
        else:
            self._line(step, step.progress)

    def notice(self, text: str) -> None:
        self._leave_line(keep=False)
        lines = encodable(escape(text), self._stream).splitlines()
        for number, line in enumerate(lines):
            # Other lines are indented, so that line breaks in a file name cannot forge a message.
            more = "  " if number and not line.startswith(" ") else ""
            self._stream.write(f"{self._indent()}{more}{line}\n")
        if self._steps and self._live:
            self._begin_line(self._steps[-1])
        self._stream.flush()

    def _begin_line(self, step: _Step) -> None:
        if self._live:
            self._stream.write(_CLEAR)
        self._stream.write(self._text(step, step.progress))
        step.open_line = self._live
        if not self._live:
            self._stream.write("\n")
        self._stream.flush()

    def _line(self, step: _Step, rest: str) -> None:
        clear = _CLEAR if step.open_line else ""
        self._stream.write(f"{clear}{self._text(step, rest)}\n")
        self._stream.flush()

    def _text(self, step: _Step, rest: str) -> str:
        rest = f" … {rest}".rstrip()
        indent = self._indent(-1)
        # One column stays free: writing into the last one wraps on some terminals.
        width = max(0, WIDTH - 1 - len(indent) - len(rest)) if self._live else None
        title = step.title if width is None else cut(step.title, width)
        return encodable(f"{indent}{title}{rest}", self._stream)

    def _leave_line(self, *, keep: bool = True) -> None:
        """End the terminal's last line, with ``keep``, or clear it."""
        if self._steps and self._steps[-1].open_line:
            self._stream.write("\n" if keep else _CLEAR)
            self._steps[-1].open_line = False

    def _indent(self, levels: int = 0) -> str:
        return "  " * max(0, len(self._steps) + levels)


def format_progress(
    done: int, total: int | None, *, unit: str, since: tuple[float, int], now: float
) -> str:
    """``45 %, 1.2 of 3.4 GB, 30 MB/s, 12 s left``; unknown parts are left out.

    ``unit`` may have an item after a comma (``packages, bash``). The unit ``s`` stands for seconds
    since the step began.
    """
    if unit == "s":
        return format_seconds(done)
    start, first = since
    elapsed = now - start
    rate = (done - first) / elapsed if elapsed > 0.5 else 0.0
    parts = [format_amount(done, unit)]
    if total:
        parts = [f"{min(100, 100 * done // total)} %", f"{_without_unit(done, total, unit)}"]
    if rate > 0:
        # A rate of packages means nothing: their sizes differ.
        parts += [f"{format_amount(int(rate), unit)}/s"] if rate >= 1 and "," not in unit else []
        if total and total > done:
            parts.append(f"{format_seconds(round((total - done) / rate))} left")
    return ", ".join(parts)


def format_amount(amount: int, unit: str) -> str:
    """Bytes in decimal units (``1.2 GB``), other units unchanged (``1200 files``)."""
    if unit != "B":
        return f"{amount} {unit}"
    value = float(amount)
    for name in _DECIMAL:
        if value < 999.95 or name == _DECIMAL[-1]:
            break
        value /= 1000
    return f"{amount} B" if name == "B" else f"{value:.1f} {name}"


def format_seconds(seconds: float) -> str:
    """``12.3 s``, ``4 min 5 s``, ``2 h 3 min``; whole seconds without a fraction."""
    if seconds < 59.95:
        return f"{seconds} s" if isinstance(seconds, int) else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def format_moment(when: int) -> str:
    """Seconds since 1970 as local date and time; ``at second N`` if that is out of range."""
    from datetime import datetime

    try:
        return datetime.fromtimestamp(when).astimezone().strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return f"at second {when}"


def _without_unit(done: int, total: int, unit: str) -> str:
    return f"{format_amount(done, unit) if unit == 'B' else done} of {format_amount(total, unit)}"
