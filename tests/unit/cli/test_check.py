"""``atoll check``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import NetworkError
from atoll.cli.main import main
from atoll.lint import context
from tests.unit.recipe.test_parse import SMALLEST

if TYPE_CHECKING:
    from pathlib import Path

LOCK = "there is no lock: the next build uses whatever the mirror has that day  [lock-missing]"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "atoll.toml").write_text(SMALLEST)
    return folder


def check(recipe: Path, *words: str) -> int:
    """Offline, with the cache of no store at all."""
    return main(["check", str(recipe), "--offline", "--store", str(recipe.parent / "no"), *words])


def test_without_lists_a_recipe_has_no_errors_and_is_not_called_right(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(recipe, "--skip", "no-way-in") == 0
    told = capsys.readouterr()
    last = told.out.splitlines()[-1]
    assert last.startswith(f"{recipe}/atoll.toml has no errors, 1 warning, ")
    assert last.endswith(" lints not checked: hello 1")
    lines = told.err.splitlines()
    assert lines[0] == f"atoll: warning: {recipe}/atoll.toml: {LOCK}"
    assert lines[-1].startswith(f"next: atoll build {recipe} --store /")
    place = next(n for n, line in enumerate(lines) if "not checked: package lists" in line)
    assert lines[place + 1].startswith("  package-unknown, ")
    assert not (recipe.parent / "no").exists()


def test_quiet_and_json(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(recipe, "--quiet", "--json") == 0
    told = capsys.readouterr()
    answer = json.loads(told.out)
    assert [each["lint"] for each in answer["problems"]] == ["lock-missing", "no-way-in"]
    assert {each["lint"] for each in answer["not_checked"]} >= {"package-unknown", "unit-unknown"}
    assert told.err == ""


def test_warnings_count_when_asked(recipe: Path) -> None:
    assert check(recipe, "--strict") == 2
    assert check(recipe, "--strict", "--skip", "no-way-in", "--skip", "lock-missing") == 0


def test_every_variant_is_checked(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (recipe / "atoll.toml").write_text(
        SMALLEST
        + """
[variant.games.packages]
install = ["wine:i386"]
[variant.plain.image]
version = "2"
"""
    )
    assert check(recipe, "--json") == 2
    rows = {row["lint"]: row for row in json.loads(capsys.readouterr().out)["problems"]}
    assert rows["no-way-in"]["variants"] == [None, "games", "plain"]
    assert (rows["architecture-missing"]["variants"], rows["architecture-missing"]["line"]) == (
        ["games"],
        12,
    )
    assert check(recipe, "--variant", "plain") == 0
    assert "hello-plain 2" in capsys.readouterr().out
    assert check(recipe, "--variant", "no") == 2


def test_what_is_fatal_ends_with_2(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = SMALLEST.replace('"systemd-sysv"', '"systemd-sysv", "wine:i386"')
    (recipe / "atoll.toml").write_text(text)
    assert check(recipe) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert f"{recipe}/atoll.toml:9: packages.install: wine:i386 is for i386" in told.err
    assert "[architecture-missing]\n  add it: [debian] architectures" in told.err


def test_every_problem_is_told(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = recipe / "atoll.toml"
    file.write_text(SMALLEST.replace("trixie", "buster").replace('"1"', "1"))
    assert main(["check", str(file)]) == 2
    told = capsys.readouterr()
    assert main(["check", "--json", str(file)]) == 2
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert [(problem["line"], problem["key"], problem["lint"]) for problem in problems] == [
        (2, "from", "recipe"),
        (6, "image.version", "recipe"),
    ]
    assert problems[0]["message"] in told.err
    assert problems[0]["hint"] in told.err


def test_what_an_included_file_says(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (recipe / "more.toml").write_text('schema = 1\n[packages]\ninstall = ["wine:i386"]\n')
    (recipe / "atoll.toml").write_text(f'include = ["./more.toml"]\n{SMALLEST}')
    assert check(recipe) == 2
    assert f"{recipe}/more.toml:3: packages.install: wine:i386" in capsys.readouterr().err


def test_a_lock_that_is_none(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (recipe / "atoll.lock").write_text("[")
    assert check(recipe, "--json") == 2
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert [each["lint"] for each in problems] == ["recipe", "no-way-in"]
    assert problems[0]["file"].endswith("atoll.lock")


def test_a_lint_that_is_none(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(recipe, "--skip", "lock-mising") == 2
    assert "did you mean: lock-missing" in capsys.readouterr().err


def test_there_is_no_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path)]) == 7
    assert "atoll.toml" in capsys.readouterr().err


def test_what_an_error_kept_from_being_checked_has_an_exit_code_of_its_own(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as a mirror that does not answer: a script must not take that for a right recipe."""

    def no_lists(*_: object) -> None:
        raise NetworkError("the mirror does not answer")

    monkeypatch.setattr(context, "find_lists", no_lists)
    monkeypatch.setattr(context, "read_own", lambda *_: ())
    words = ["check", str(recipe), "--store", str(recipe.parent / "no"), "--skip", "no-way-in"]
    assert main(words) == 16
    told = capsys.readouterr()
    assert "is right" not in told.out + told.err
    assert "not checked: package lists not available: the mirror does not answer" in told.err
    assert "some checks could not run" in told.err.splitlines()[-2]
    assert "next:" not in told.err


def test_problems_are_counted_and_each_is_an_error_or_a_warning(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SMALLEST.replace('"systemd-sysv"', '"systemd-sysv", "wine:i386", "mono:i386"')
    (recipe / "atoll.toml").write_text(text)
    assert check(recipe) == 2
    lines = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("atoll: error: ") for line in lines) == 2
    assert sum(line.startswith("atoll: warning: ") for line in lines) == 2
    assert lines[-1].startswith("atoll: 2 errors, 2 warnings, ")


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"NO_COLOR": ""}, True)],
)
def test_colour_is_for_terminals_and_names_of_others_have_none(
    environment: dict[str, str], coloured: bool, recipe: Path
) -> None:
    (recipe / "atoll.toml").write_text(SMALLEST.replace('"hello"', '"a\\u001b[31mb"'))
    main_end, other_end = os.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "atoll", "check", str(recipe), "--offline"],
        env=os.environ | {"PYTHONPATH": "src", "TERM": "xterm", "NO_COLOR": ""} | environment,
        stderr=other_end,
        stdout=subprocess.PIPE,
        check=False,
    )
    os.close(other_end)
    text = os.read(main_end, 1 << 16)
    os.close(main_end)
    assert done.returncode == 2
    assert (b"\x1b[1;31merror\x1b[0m: " in text) == coloured
    assert b"\x1b[31m" not in text
