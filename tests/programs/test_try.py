"""``./try``: the words that it takes, and what ``--install`` gives to the installer. The machine
itself is tests/vm/test_try_install.py."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from atoll.installer.answers.parse import read_answers, read_passphrase
from examples import install_tour
from examples.install_tour import ANSWERS, HASHED, LOG, PASSPHRASE, find_recovery_key, follow
from examples.tour_steps import StepFailed, Tour

TRY = Path(__file__).parents[2] / "try"


def test_what_does_not_go_together_is_refused_before_anything_is_done() -> None:
    for words, said in (
        (["--install", "--break-it"], "choose one"),
        (["--instal"], "see ./try --help"),
    ):
        done = subprocess.run([TRY, *words], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
    shown = subprocess.run([TRY, "--help"], capture_output=True, text=True, check=True).stdout
    assert all(word in shown for word in ("--install", "--break-it", "--keep"))
    assert "set -e" not in shown


def test_the_answers_of_the_tour_are_complete(tmp_path: Path) -> None:
    path = tmp_path / "answers.toml"
    path.write_text(ANSWERS.format(hashed=HASHED))
    (tmp_path / "passphrase").write_text(f"{PASSPHRASE}\n")
    answers = read_answers(path)
    assert read_passphrase(path, answers) == PASSPHRASE
    assert answers.encryption is not None and answers.encryption.recovery_key


def test_the_recovery_key_is_found_where_it_is_shown() -> None:
    key = "-".join(["cbdefghi"] * 8)
    shown = f"Recovery key, shown this once; write it down:\n{key}\n ▄▀█ \nnext: restart\n"
    assert find_recovery_key(shown) == key
    with pytest.raises(StepFailed, match="no recovery key"):
        find_recovery_key(shown.replace(key, ""))


class Installing:
    """A machine whose installation writes a piece of its output before each question."""

    def __init__(self, log: Path, *pieces: str, end: str) -> None:
        self.log, self.pieces, self.end = log, list(pieces), end
        log.touch()

    def succeed(self, command: str) -> str:
        if command.startswith("systemctl show"):
            if self.pieces:
                with self.log.open("a") as file:
                    file.write(self.pieces.pop(0))
            return "running\n" if self.pieces else f"{self.end}\n"
        words = command.replace(LOG, str(self.log))
        return subprocess.run(words, shell=True, check=True, capture_output=True, text=True).stdout


def test_the_output_of_the_installation_is_shown_as_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install_tour, "PAUSE", 0)
    pieces = ("Writing … 0.1 s\nencry", "pt\n", " ▄▀█ \n", "next: restart\n")
    machine = Installing(tmp_path / "log", *pieces, end="exited")
    lines = list(follow(machine))
    assert lines == ["Writing … 0.1 s", "encrypt", " ▄▀█ ", "next: restart"]
    machine = Installing(tmp_path / "other", "atoll: it is in use\n", end="failed")
    with pytest.raises(StepFailed, match="failed"):
        list(follow(machine))


def test_the_table_of_a_tour_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    tour = Tour(steps=1)
    with tour.step("Look at what was installed", "encrypted; the same tree as the stick's"):
        pass
    tour.print_table()
    shown = capsys.readouterr().out
    assert "[1/1] Look at what was installed" in shown
    assert "encrypted; the same tree" in shown.splitlines()[-2]
    assert all(len(line) <= 80 for line in shown.splitlines())
