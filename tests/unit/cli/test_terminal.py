"""Whatever a verb prints, and by whatever way, nothing from outside steers the terminal."""
# ruff: noqa: T201  # printing is what is tested

from __future__ import annotations

import io
import json
import os
import sys
import types
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import AtollError, ProgramFailed
from atoll.cli import main as main_module
from atoll.cli.main import VERBS, Verb, main
from atoll.cli.output.progress import StreamReporter, reporter_for
from atoll.cli.output.terminal import SafeStream, safe_streams, write_result

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from atoll.base.report import Reporter

HOSTILE = "a\x1b]0;owned\x07\r\x1b[2K\x9b1m\x7f\u202eb\udce9\u2028"


class Terminal(io.TextIOWrapper):
    """Remembers what was written, and says that it is a terminal."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding, write_through=True)

    def isatty(self) -> bool:  # type: ignore[explicit-override]
        return True

    @property
    def text(self) -> str:
        return self.bytes.getvalue().decode(self.encoding)


def is_harmless(text: str) -> bool:
    return all(each.isprintable() for each in text.splitlines())


def shown(*words: str) -> str:
    """All that one command line writes onto a terminal."""
    screen = Terminal()
    with redirect_stdout(screen), redirect_stderr(screen):
        main(words)
    assert "owned" in screen.text
    return screen.text


def shown_by(monkeypatch: pytest.MonkeyPatch, body: Callable[[Reporter], object]) -> str:
    """What a verb that does so writes onto a terminal."""

    def run(_arguments: argparse.Namespace, reporter: Reporter) -> int:
        body(reporter)
        return 0

    module = types.ModuleType("atoll.cli.fake")
    module.__dict__.update(add_arguments=lambda _parser: None, run=run)
    monkeypatch.setitem(sys.modules, "atoll.cli.fake", module)
    fake = Verb("fake", "maker", "do as told", "atoll fake")
    monkeypatch.setattr(main_module, "VERBS", (*VERBS, fake))
    return shown("fake")


def _raise(error: Exception) -> None:
    raise error


def _work(reporter: Reporter) -> None:
    with reporter.step(HOSTILE):
        reporter.progress(1, 2, unit="B")
        reporter.notice(HOSTILE)


WAYS: dict[str, Callable[[Reporter], object]] = {
    "print": lambda _: print(HOSTILE),
    "stderr": lambda _: print(HOSTILE, file=sys.stderr),
    "result": lambda _: write_result(HOSTILE.encode(errors="surrogateescape")),
    "notice": lambda reporter: reporter.notice(HOSTILE),
    "error": lambda _: _raise(AtollError(HOSTILE, hint=HOSTILE)),
    "program": lambda _: _raise(ProgramFailed([HOSTILE], 1, HOSTILE)),
    "mistake": lambda _: _raise(RuntimeError(HOSTILE)),
    "system": lambda _: _raise(FileNotFoundError(2, "No such file", HOSTILE)),
}


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
@pytest.mark.parametrize("way", WAYS)
def test_no_way_out_carries_control_characters(
    way: str, debug: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATOLL_DEBUG", "1" if debug else "0")
    assert is_harmless(shown_by(monkeypatch, WAYS[way]))


@pytest.mark.parametrize("verb", [(), ("status",), ("explain",), ("status", "--root")], ids=str)
def test_words_of_the_command_line_are_escaped_too(verb: tuple[str, ...]) -> None:
    assert is_harmless(shown(*verb, HOSTILE))


def test_a_step_redraws_its_line_and_nothing_else_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = shown_by(monkeypatch, _work)
    assert "\r\x1b[K" in text
    assert is_harmless(text.replace("\r\x1b[K", "\n"))


def test_json_stays_json(monkeypatch: pytest.MonkeyPatch) -> None:
    document = {"name": HOSTILE, HOSTILE: [HOSTILE]}
    text = shown_by(monkeypatch, lambda _: print(json.dumps(document, indent=2)))
    assert json.loads(text) == document
    assert is_harmless(text)


def test_a_result_reaches_a_pipe_as_it_is(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    data = HOSTILE.encode(errors="surrogateescape")
    with open(1, "w", closefd=False) as pipe:
        before, sys.stdout = sys.stdout, pipe
        try:
            with safe_streams():
                print("first")
                write_result(data)
        finally:
            sys.stdout = before
    assert capfdbinary.readouterr().out == b"first\n" + data


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_poor_terminal_gets_characters_that_it_has(encoding: str) -> None:
    screen = Terminal(encoding)
    print("größer → 日本", file=SafeStream(screen))
    reporter = StreamReporter(screen, live=True)
    with reporter.step("größer → 日本"):
        reporter.notice("größer → 日本")
    assert is_harmless(screen.text.replace("\r\x1b[K", "\n"))


def test_a_step_of_wide_characters_stays_in_one_line() -> None:
    from atoll.base.text import width

    screen = Terminal()
    with reporter_for(screen, quiet=False).step("日本" * 60):
        pass
    for line in screen.text.replace("\r\x1b[K", "\n").splitlines():
        assert width(line) < 80


@pytest.mark.parametrize("umask", [0o000, 0o027, 0o077])
def test_every_verb_runs_with_one_umask(umask: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(_reporter: Reporter) -> None:
        seen.append(os.umask(0o022))
        print("owned")

    before = os.umask(umask)
    try:
        shown_by(monkeypatch, look)
        assert os.umask(umask) == umask, "the caller's own stays what it was"
    finally:
        os.umask(before)
    assert seen == [0o022]


def test_a_stream_that_was_closed_below_is_not_flushed() -> None:
    below = io.TextIOWrapper(io.BytesIO())
    stream = SafeStream(below)
    below.close()
    stream.close()
    assert stream.closed
