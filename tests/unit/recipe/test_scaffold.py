"""A new repository: its files, and a ci.sh that publishes only changed images that passed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Refused, UsageError
from atoll.cli.main import main
from atoll.recipe.language.parse import parse_problems, parse_recipe
from atoll.recipe.scaffold import DERIVE, TEMPLATES, check_empty, plan_repository, write_repository

if TYPE_CHECKING:
    from pathlib import Path

BASE = "oci:base:1"
FAKE = """#!/bin/sh
# atoll as ci.sh calls it: says what it was asked, and does what the folder $MOOD says
echo "$*" >>"$MOOD/calls"
verb=$1
case "$*" in *"--update "*) exit 2 ;; esac  # what follows would be a package
case $verb in
    lock) [ ! -e "$MOOD/news" ] || cat "$MOOD/news" >atoll.lock ;;
    build) case "$*" in *--output*)
        mkdir -p "$PUBLISH" && echo "{}" >"$PUBLISH/index.json" ;;
    esac ;;
esac
[ ! -e "$MOOD/$verb" ] || exit "$(cat "$MOOD/$verb")"
"""


@dataclass(slots=True)
class Workspace:
    """A new repository with a fake atoll; ``exit_codes`` has the exit code of each verb."""

    folder: Path
    exit_codes: Path
    environment: dict[str, str] = field(default_factory=dict)

    def ci(self, *argv: str, **codes: str) -> int:
        (self.exit_codes / "calls").write_text("")
        for name, text in codes.items():
            (self.exit_codes / name).write_text(text)
        done = subprocess.run(
            [self.folder / "ci.sh", *argv],
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
        )
        for name in codes:
            if name != "news":
                (self.exit_codes / name).unlink()
        return done.returncode

    def calls(self) -> list[str]:
        return [line.split()[0] for line in (self.exit_codes / "calls").read_text().splitlines()]

    @property
    def lock(self) -> str | None:
        path = self.folder / "atoll.lock"
        return path.read_text() if path.exists() else None

    @property
    def published(self) -> bool:
        return (self.folder / "publish/index.json").exists()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    folder, exit_codes, programs = tmp_path / "reef", tmp_path / "mood", tmp_path / "bin"
    for path in (exit_codes, programs):
        path.mkdir()
    write_repository(folder, plan_repository("minimal", folder, name="reef", base=None), {})
    (programs / "atoll").write_text(FAKE)
    (programs / "atoll").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "MOOD": str(exit_codes),
        "PUBLISH": str(folder / "publish"),
    }
    environment.pop("ATOLL_STORE", None)
    return Workspace(folder=folder, exit_codes=exit_codes, environment=environment)


def test_the_first_run_publishes(workspace: Workspace) -> None:
    assert workspace.ci(news="one") == 0
    assert workspace.calls() == ["lock", "check", "build", "test", "build"]
    assert (workspace.lock, workspace.published) == ("one", True)


def test_nothing_moved(workspace: Workspace) -> None:
    workspace.ci(news="one")
    for lock_status in ("0", "77"):
        assert workspace.ci(lock=lock_status) == 77
        assert workspace.calls() == ["lock"]
        assert workspace.lock == "one"
    assert workspace.ci("--force") == 0


def test_a_lock_that_was_never_published_is_built(workspace: Workspace) -> None:
    (workspace.folder / "atoll.lock").write_text("one")
    assert workspace.ci(lock="77") == 0
    assert workspace.published


def test_an_empty_runner_has_nothing_to_do_at_night(workspace: Workspace) -> None:
    (workspace.folder / "atoll.lock").write_text("one")
    assert workspace.ci("--moved", lock="77") == 77
    assert workspace.calls() == ["lock"]
    assert workspace.ci("--moved", news="two") == 0
    assert workspace.published


def test_a_word_it_does_not_know(workspace: Workspace) -> None:
    assert workspace.ci("--forse") == 2
    assert workspace.calls() == []


@pytest.mark.parametrize(
    ("verb", "status", "calls"),
    [
        ("lock", "5", 1),
        ("check", "2", 2),
        ("build", "10", 3),
        ("test", "14", 4),
    ],
)
def test_what_fails_leaves_all_as_it_was(
    workspace: Workspace, verb: str, status: str, calls: int
) -> None:
    assert workspace.ci(**{"news": "one", verb: status}) == int(status)
    assert len(workspace.calls()) == calls
    assert (workspace.lock, workspace.published) == (None, False)
    workspace.ci(news="one")
    assert workspace.ci(**{"news": "two", verb: status}) == int(status)
    assert workspace.lock == "one"
    assert workspace.ci(news="two") == 0, "the next run tries again"
    assert workspace.lock == "two"


def test_the_store_is_told_to_every_verb(workspace: Workspace) -> None:
    workspace.environment["ATOLL_STORE"] = "/a store"
    workspace.ci(news="one")
    lines = (workspace.exit_codes / "calls").read_text().splitlines()
    assert all("--store /a store" in line for line in lines)


@pytest.mark.parametrize("template", TEMPLATES)
def test_templates(template: str, tmp_path: Path) -> None:
    base = BASE if template == DERIVE else None
    planned = plan_repository(template, tmp_path, name="a.reef-1", base=base)
    texts = {file.path: file.text for file in planned}
    assert "systemd/a.reef-1-update.timer" in texts
    left = [
        path
        for path, text in texts.items()
        for mark in ("@NAME@", "@BASE@", "@HASH@", "@DEB_ROW@", "@DIRECTORY@")
        if mark in text + path
    ]
    assert left == []
    assert parse_problems(texts["atoll.toml"], file="atoll.toml")[1] == ()
    for name in ("atoll", "atoll-system"):
        assert (f'"./{name}.deb"' in texts["atoll.toml"]) == (template != DERIVE)


@pytest.mark.parametrize("template", ["desktop", "server"])
def test_templates_for_real_hardware(template: str, tmp_path: Path) -> None:
    """Swap, microcode and Debian's component for firmware come without asking."""
    planned = plan_repository(template, tmp_path, name="reef", base=None)
    text = next(file.text for file in planned if file.path == "atoll.toml")
    recipe = parse_recipe(text, file="atoll.toml")
    wanted = {"systemd-zram-generator", "intel-microcode", "amd64-microcode"}
    assert wanted <= set(recipe.packages.install)
    assert "non-free-firmware" in (recipe.debian.components or ())


@pytest.mark.parametrize("template", ["desktop", "server", "minimal"])
def test_templates_do_not_wait_for_a_network_at_their_start(template: str, tmp_path: Path) -> None:
    planned = plan_repository(template, tmp_path, name="reef", base=None)
    text = next(file.text for file in planned if file.path == "atoll.toml")
    units = parse_recipe(text, file="atoll.toml").units
    if "systemd-networkd.service" in units.enable:
        assert "systemd-networkd-wait-online.service" in units.disable


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="needs shellcheck")
def test_its_scripts_are_clean(tmp_path: Path) -> None:
    for file in plan_repository("minimal", tmp_path, name="reef", base=None):
        if file.text.startswith("#!"):
            subprocess.run(["shellcheck", "-"], input=file.text, text=True, check=True)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
def test_its_units_are_right(workspace: Workspace) -> None:
    units = sorted((workspace.folder / "systemd").iterdir())
    argv: list[str | Path] = [
        "systemd-analyze",
        "verify",
        "--man=no",
        "--recursive-errors=no",
        *units,
    ]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert [line for line in done.stderr.splitlines() if "reef" in line] == []
    assert done.returncode == 0


def test_what_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    for path in (tmp_path, tmp_path / "x"):
        with pytest.raises(Refused):
            check_empty(path)
    for name, template, base in (
        ("Bad Name", "server", None),
        ("a", DERIVE, None),
        ("a", "server", BASE),
    ):
        with pytest.raises(UsageError):
            plan_repository(template, tmp_path, name=name, base=base)


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mine"
    argv = ["new", str(folder), "--template", "derive", "--from", BASE, "--json"]
    assert main(argv) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["name"] == "mine"
    assert sorted(answer["files"]) == sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    )
    assert os.access(folder / "ci.sh", os.X_OK)
    assert main(argv) == 11
    assert main(["new", str(tmp_path / "other"), "--deb", str(folder / "ci.sh")]) == 7
    assert not (tmp_path / "other").exists()
