"""``atoll check``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from atoll.cli.main import main
from tests.unit.recipe.test_parse import SMALLEST

if TYPE_CHECKING:
    from pathlib import Path

LOCK = "there is no lock: the next build takes what the mirror has that day  [lock-missing]"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "atoll.toml").write_text(SMALLEST)
    return folder


def check(recipe: Path, *words: str) -> int:
    """Offline, with the cache of no store at all."""
    return main(["check", str(recipe), "--offline", "--store", str(recipe.parent / "no"), *words])


def test_a_right_recipe(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(recipe, "--skip", "no-way-in") == 0
    told = capsys.readouterr()
    assert told.out == f"{recipe}/atoll.toml is right: hello 1, Debian trixie, 1 package\n"
    lines = told.err.splitlines()
    assert lines[0] == f"atoll: warning: {recipe}/atoll.toml: {LOCK}"
    assert lines[-1] == f"next: atoll build {recipe}"
    assert any("not all checked, without package lists: package-unknown" in line for line in lines)
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
