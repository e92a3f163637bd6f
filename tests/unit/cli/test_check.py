"""``atoll check``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from atoll.cli.main import main
from tests.unit.recipe.test_parse import SMALLEST

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_right_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "atoll.toml").write_text(SMALLEST)
    assert main(["check", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert told.out == f"{tmp_path}/atoll.toml is right: hello 1, Debian trixie, 1 package\n"
    assert told.err == f"next: atoll build {tmp_path}\n"


def test_quiet_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "atoll.toml").write_text(SMALLEST)
    assert main(["check", "--quiet", "--json", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == {"problems": []}
    assert told.err == ""


def test_every_problem_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "atoll.toml"
    file.write_text(SMALLEST.replace("trixie", "buster").replace('"1"', "1"))
    assert main(["check", "--json", str(file)]) == 2
    told = capsys.readouterr()
    problems = json.loads(told.out)["problems"]
    assert [(problem["line"], problem["key"]) for problem in problems] == [
        (2, "from"),
        (6, "image.version"),
    ]
    assert problems[0]["message"] in told.err
    assert problems[0]["hint"] in told.err


def test_there_is_no_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path)]) == 7
    assert "atoll.toml" in capsys.readouterr().err
