"""``atoll explain``: keys, tables, errors, and who set what."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from atoll.cli.main import main
from atoll.recipe.language.schema import each_key, each_table

if TYPE_CHECKING:
    from pathlib import Path

COMMON = """schema = 1
[packages]
install = ["systemd-sysv", "htop"]
[kernel]
args = ["quiet"]
[[user]]
name = "ada"
gecos = "Ada"
"""
RECIPE = """schema = 1
from = "debian:trixie"
include = ["./common.toml"]
[image]
name = "reef"
version = "1"
[packages]
install = ["vim"]
[[user]]
name = "ada"
gecos = "Ada L."
[units.dropin]
"a.service" = "x"
[variant.kde.packages]
install = ["kde-plasma-desktop"]
remove = ["htop"]
[when."variant=kde".packages]
install = ["konsole"]
[when."variant=gnome".packages]
install = ["nautilus"]
[variant.gnome.image]
description = "GNOME"
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "common.toml").write_text(COMMON)
    (tmp_path / "atoll.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_key_of_the_recipe_that_is_here(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (recipe / "atoll.toml").exists()
    assert main(["explain", "packages.install", ".", "--variant", "kde"]) == 0
    assert capsys.readouterr().out == (
        "packages.install: list of texts\n"
        "  Packages as apt writes them (NAME, NAME:ARCH, NAME=VERSION, NAME/SUITE), or\n"
        "  .deb files beside the recipe (./FILE.deb).\n"
        '  example:   install = ["systemd-sysv", "linux-image-amd64", "htop/trixie-backports"]\n'
        "  default:   an error, unless from brings packages along\n"
        "\n"
        "set here:\n"
        '  "systemd-sysv"        common.toml:3\n'
        '  "vim"                 atoll.toml:8\n'
        '  "konsole"             atoll.toml:18, when variant=kde\n'
        '  "kde-plasma-desktop"  atoll.toml:15, variant kde\n'
        "set in other variants or for other machines:\n"
        '  "nautilus"  atoll.toml:20, when variant=gnome\n'
    )


def test_what_a_later_file_changed(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "user.gecos", str(recipe)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == (f'  ada: "Ada"     {recipe}/common.toml:8 (overridden by a later one)')
    assert lines[-1] == f'  ada: "Ada L."  {recipe}/atoll.toml:11'


def test_json(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "[units] dropin", str(recipe / "atoll.toml"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["key"] == "units.dropin"
    assert told["set"] == [
        {
            "value": "x",
            "file": str(recipe / "atoll.toml"),
            "line": 13,
            "variant": None,
            "condition": None,
            "row": [],
            "name": "a.service",
            "holds": True,
        }
    ]


def test_without_a_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["explain", "boot.timeout"]) == 0
    assert "set" not in capsys.readouterr().out
    assert main(["explain", "boot.timeout", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["set"] is None
    assert main(["explain", "boot.timeout", "--variant", "kde"]) == 2
    assert main(["explain", "boot.timeout", "gone.toml"]) == 7


@pytest.mark.parametrize("path", [path for path, _ in (*each_key(), *each_table())])
def test_everything_can_be_explained(
    path: str, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", path, str(recipe)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith((f"{path}:", f"[{path}]:", f"[[{path}]]:"))


def test_all_tables_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert all(f"[{path}]" in out for path, _ in each_table())
    assert main(["explain", "--json", "--quiet"]) == 0
    assert "[packages]" in json.loads(capsys.readouterr().out)["tables"]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("RecipeError", "RecipeError: exit code 2\n"),
        ("busy", "Busy: exit code 9\n"),
        ("2", "UsageError: exit code 2\n"),
        ("70", "exit code 70\n"),
        ("0", "exit code 0\n"),
    ],
)
def test_errors_and_exit_codes(word: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", word]) == 0
    assert told in capsys.readouterr().out
    assert main(["explain", word, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["errors"]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("intsall", "did you mean: packages.install"),
        ("name", "choose: image.name, repo.name"),
        ("44", "exit codes: 0, 1, 2"),
        ("\x00", "all tables: atoll explain"),
    ],
)
def test_what_is_not_there(word: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", word]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    "word", ["variant.kde.boot.timeout", 'when."suite=sid".boot.timeout', "[boot] timeout"]
)
def test_ways_to_write_a_key(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", word]) == 0
    assert capsys.readouterr().out.startswith("boot.timeout: whole number\n")


def test_a_recipe_that_is_wrong(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (recipe / "atoll.toml").write_text("schema = 1\n[boot]\ntimeout = 3\n[kernal]\n")
    assert main(["explain", "boot.timeout"]) == 0
    assert "3  atoll.toml:3" in capsys.readouterr().out
    assert main(["explain", "boot.timeout", ".", "--variant", "x"]) == 2
    assert "it has none" in capsys.readouterr().err
    (recipe / "atoll.toml").write_text("[")
    assert main(["explain", "boot.timeout"]) == 2
    assert "is not TOML" in capsys.readouterr().err


def test_a_lint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "lock-stale"]) == 0
    assert capsys.readouterr().out.startswith("lock-stale: fatal: the lock no longer fits")
    assert main(["explain", "lock-stale", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["severity"] == "fatal"
