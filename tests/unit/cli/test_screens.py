"""The dialogue on real terminals of 80×24, by keys alone, as a person sees it."""

from __future__ import annotations

import os
import re
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from atoll.cli.output.screens import wrap
from atoll.host.password_hash import crypt_password
from tests.terminals import DOWN, ENTER, ESCAPE, INTERRUPT, PAGE_DOWN, UP, on_terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.terminals import Terminal

PROGRAM = "tests.dialogue_facts"


@pytest.fixture
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal]:
    words = [sys.executable, "-m", PROGRAM, str(tmp_path), str(tmp_path / "out")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with on_terminal(words, term=getattr(request, "param", "vt220"), env=env) as terminal:
        yield terminal


@pytest.mark.parametrize(
    "terminal",
    [
        *(pytest.param(term, marks=pytest.mark.long) for term in ("xterm-256color", "linux")),
        "vt220",
    ],
    indirect=True,
)
def test_from_the_first_question_to_the_last(terminal: Terminal, tmp_path: Path) -> None:
    steps = (
        ("Which layout", "ger"),
        ("search: ger", ENTER),
        ("Which variant", f"nod{ENTER}"),
        ("Which disk", f"{DOWN}{ENTER}"),
        ("cannot be chosen: /dev/sda is read-only", f"{UP}{ENTER}"),
        ("How much", f"free{ENTER}"),
        ("do not encrypt", f"{UP}{UP}{ENTER}"),
        ("Passphrase:", f"short{ENTER}"),
        ("has fewer than 8 characters", f"er but longer{ENTER}"),
        ("once more", f"another{ENTER}"),
        ("not the same", f"correct horse{ENTER}"),
        ("once more", f"correct horse{ENTER}"),
        ("Full name", f"Zoë Lovelace{ENTER}"),
        ("Login name: zoe", ENTER),
        ("Password:", f"pass word{ENTER}"),
        ("once more", f"pass word{ENTER}"),
        ("Host name: hello", ENTER),
        ("> en_US.UTF-8", f"de{ENTER}"),
        ("Africa/Cairo", f"ber{ENTER}"),
        ("by Wi-Fi", ENTER),
        ("Image: docker://registry.example/hello:stable", ENTER),
        ("File:", f"saved.toml{ENTER}"),
        ("Nothing is erased", PAGE_DOWN),
        ("user      zoe (Zoë Lovelace)", PAGE_DOWN),
        ("keyboard  de nodeadkeys", ENTER),
        ("Name of the disk", f"nvme{ENTER}"),
        ("that is not nvme0n1", f"0n1{ENTER}"),
    )
    for text, keys in steps:
        terminal.wait_for(text)
        assert terminal.rows[-1].endswith("Ctrl-C stop")
        assert terminal.marked[-1] == terminal.rows[-1].strip(), "the keys are always marked"
        terminal.send(keys)
    assert terminal.end() == 0
    out = (tmp_path / "out").read_text()
    made = out.splitlines()[-2]
    assert crypt_password("pass word", made) == made
    assert 'layout = "de"\nvariant = "nodeadkeys"\n' in out
    assert 'gecos = "Zoë Lovelace"' in out
    assert out.endswith("\ncorrect horse\n")
    for secret in (b"correct", b"horse", b"pass word", b"short"):
        assert secret not in terminal.drawn
    assert not re.search(rb"\x1b\[[0-9;]*3[0-9]m", terminal.drawn), "no colours"


def test_the_line_that_is_chosen_is_marked_twice(terminal: Terminal) -> None:
    terminal.wait_for("> English (US)")
    terminal.send(DOWN)
    terminal.wait_for("> French (fr)")
    assert "French (fr)" in terminal.marked
    assert "English (US) (us)" not in terminal.marked


def test_escape_goes_back(terminal: Terminal) -> None:
    terminal.wait_for("Which layout")
    terminal.send(f"fr{ENTER}")
    terminal.wait_for("Which disk")
    terminal.send(ESCAPE)
    terminal.wait_for("> French (fr)")
    terminal.send(ENTER)
    terminal.wait_for("Which disk")


@pytest.mark.parametrize("how", [INTERRUPT, signal.SIGTERM, signal.SIGHUP])
def test_an_end_gives_the_terminal_back(
    terminal: Terminal, tmp_path: Path, how: str | signal.Signals
) -> None:
    before = terminal.settings()
    terminal.wait_for("Which layout")
    assert terminal.settings() != before
    if isinstance(how, str):
        terminal.send(how)
    else:
        os.kill(terminal.pid, how)
    assert terminal.end() != 0
    assert terminal.settings() == before
    assert not (tmp_path / "out").exists()
    assert not terminal.screen.cursor.hidden


def test_lines_are_broken_between_words() -> None:
    assert wrap("one two three", 7) == ["one two", "three"]
    assert wrap("  indented as it was", 12) == ["  indented", "  as it was"]
    assert wrap("a table   stays", 20) == ["a table   stays"]
    assert wrap("\n\n", 10) == ["", "", ""]
    assert wrap("x" * 30, 10) == [f"{'x' * 9}…"]
