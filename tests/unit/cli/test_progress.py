"""The story on stderr, on a terminal and in a log."""

from __future__ import annotations

import io

import pytest

from atoll.cli.output.progress import (
    StreamReporter,
    format_amount,
    format_progress,
    format_seconds,
    reporter_for,
)


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def told(*, live: bool) -> str:
    stream, clock = io.StringIO(), Clock()
    report = StreamReporter(stream, live=live, clock=clock)
    report.notice("This takes a minute.")
    with report.step("Building hello"):
        with report.step("Downloading"):
            for number in range(31):
                report.progress(number * 1_000_000, 40_000_000, unit="B")
                clock.now += 1
        with report.step("Unpacking"):
            report.notice("two\nlines")
            clock.now += 0.25
    with pytest.raises(ValueError, match="x"), report.step("Failing"):
        raise ValueError("x")
    with pytest.raises(KeyboardInterrupt), report.step("Waiting"):
        raise KeyboardInterrupt
    return stream.getvalue()


def test_log() -> None:
    assert told(live=False).splitlines() == [
        "This takes a minute.",
        "Building hello …",
        "  Downloading …",
        "  Downloading … 25 %, 10.0 MB of 40.0 MB, 1.0 MB/s, 30 s left",
        "  Downloading … 50 %, 20.0 MB of 40.0 MB, 1.0 MB/s, 20 s left",
        "  Downloading … 75 %, 30.0 MB of 40.0 MB, 1.0 MB/s, 10 s left",
        "  Downloading … 31.0 s",
        "  Unpacking …",
        "    two",
        "      lines",
        "  Unpacking … 0.2 s",
        "Building hello … 31.2 s",
        "Failing …",
        "Failing … failed after 0.0 s",
        "Waiting …",
        "Waiting … stopped after 0.0 s",
    ]


def screen(text: str) -> list[str]:
    """What a terminal shows in the end: a carriage return and "erase line" clear a line."""
    return [line.rpartition("\r\x1b[K")[2] for line in text.split("\n")]


def test_terminal() -> None:
    text = told(live=True)
    assert screen(text) == [
        "This takes a minute.",
        "Building hello …",
        "  Downloading … 31.0 s",
        "    two",
        "      lines",
        "  Unpacking … 0.2 s",
        "Building hello … 31.2 s",
        "Failing … failed after 0.0 s",
        "Waiting … stopped after 0.0 s",
        "",
    ]
    assert "75 %, 30.0 MB of 40.0 MB, 1.0 MB/s, 10 s left" in text


def test_terminal_lines_fit() -> None:
    stream = io.StringIO()
    report = StreamReporter(stream, live=True, clock=Clock())
    with report.step("x" * 200):
        report.progress(1, None, unit="files")
    drawn = stream.getvalue().split("\r\x1b[K")
    assert all(len(line.split("\n")[0]) < 80 for line in drawn)


def test_control_characters_move_no_cursor() -> None:
    stream = io.StringIO()
    report = StreamReporter(stream, live=False, clock=Clock())
    report.notice("a\x1b[2Jb")
    assert stream.getvalue() == "a\\x1b[2Jb\n"


def test_progress_without_a_step_or_a_total() -> None:
    stream = io.StringIO()
    report = StreamReporter(stream, live=True, clock=Clock())
    report.progress(1, 2, unit="B")
    assert stream.getvalue() == ""
    assert format_progress(70, None, unit="files", since=(0, 0), now=10) == "70 files, 7 files/s"
    assert format_progress(0, 0, unit="B", since=(0, 0), now=0) == "0 B"
    assert format_progress(5, 5, unit="files", since=(0, 0), now=0) == "100 %, 5 of 5 files"


def test_quiet_says_nothing() -> None:
    stream = io.StringIO()
    report = reporter_for(stream, quiet=True)
    with report.step("x"):
        report.notice("y")
        report.progress(1, 2, unit="B")
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_999, "1.0 MB"), (3_400_000_000, "3.4 GB")],
)
def test_amounts(amount: int, text: str) -> None:
    assert format_amount(amount, "B") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (12.34, "12.3 s"), (12, "12 s"), (59.99, "1 min 0 s"), (7380, "2 h 3 min")],
)
def test_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_what_is_at_work_and_how_long_it_takes_are_told() -> None:
    text = format_progress(125, 205, unit="packages, libc-bin", since=(0.0, 5), now=60.0)
    assert text == "60 %, 125 of 205 packages, libc-bin, 40 s left"
    assert format_progress(75, None, unit="s", since=(0.0, 0), now=75.0) == "1 min 15 s"
