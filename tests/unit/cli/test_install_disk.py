"""The words of ``atoll install`` for disks, and how a plan is confirmed."""

from __future__ import annotations

import argparse
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import NotFound, Refused, UsageError
from atoll.cli.install import add_arguments
from atoll.cli.install_disk import confirm, find_target
from atoll.cli.typed_confirmation import ask_passphrase
from atoll.installer.answers.parse import Answers, TargetAnswer
from atoll.installer.devices.read_devices import follow_links
from atoll.installer.plan.partitioning import FirmwareEntry, Target, TargetKind
from atoll.installer.plan.plan_installation import plan_installation
from atoll.installer.settings.settings import Settings, UserSettings
from tests.terminals import ENTER, on_terminal
from tests.unit.installer.made_devices import NEEDS, SDA, debian_disk, make_devices

if TYPE_CHECKING:
    from atoll.installer.plan.partitioning import InstallationPlan

ANSWERS = Answers(
    settings=Settings(user=UserSettings(name="ada", password="$6$x$y")),
    target=TargetAnswer(kind="free_space", device="/dev/sda", esp="/dev/sdb1"),
)


def target_of(*words: str, answers: Answers | None = None) -> Target | None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return find_target(parser.parse_args(["store:hello", *words]), answers)


def plan() -> InstallationPlan:
    target = Target(kind=TargetKind.DISK, device=SDA)
    return plan_installation(target, make_devices(debian_disk()), NEEDS, encrypted=False)


def test_each_word_names_a_target() -> None:
    assert target_of("--disk", "/dev/sda") == Target(kind=TargetKind.DISK, device=SDA)
    assert target_of("--free-space", "/dev/sda", "--firmware-entry", "first") == Target(
        kind=TargetKind.FREE_SPACE, device=SDA, firmware=FirmwareEntry.FIRST
    )
    assert target_of("--partition", "/dev/sda3", "--esp", "/dev/sda1", "--home", "/dev/sdb1") == (
        Target(
            kind=TargetKind.PARTITION,
            device=Path("/dev/sda3"),
            esp=Path("/dev/sda1"),
            home=Path("/dev/sdb1"),
        )
    )
    assert target_of("--root", "/mnt") is None


def test_encryption_goes_with_a_disk_and_is_asked_for_once() -> None:
    assert target_of("--disk", "/dev/sda", "--encrypt") is not None
    with pytest.raises(UsageError, match="--encrypt goes with --disk"):
        target_of("--root", "/mnt", "--encrypt")


ASK = "from atoll.cli.typed_confirmation import ask_passphrase as ask; print('typed', len(ask()))"


@pytest.mark.parametrize(
    ("second", "told"),
    [("correct horse", "typed 13"), ("correct hose", "the two passphrases differ")],
)
def test_a_passphrase_is_typed_twice_and_not_shown(second: str, told: str) -> None:
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with on_terminal([sys.executable, "-c", ASK], term="vt220", env=env) as terminal:
        terminal.wait_for("Passphrase that will open the disk:")
        terminal.send(f"correct horse{ENTER}")
        terminal.wait_for("Once more:")
        terminal.send(f"{second}{ENTER}")
        terminal.wait_for(told)
        assert "horse" not in terminal.text


def test_without_a_terminal_a_passphrase_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("secret\nsecret\n"))
    with pytest.raises(UsageError, match="no terminal") as caught:
        ask_passphrase()
    assert "passphrase_file" in (caught.value.hint or "")


def test_a_link_to_a_disk_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/null")
    found = target_of("--disk", str(tmp_path / "link"))
    assert found is not None
    assert found.device == Path("/dev/null")


def test_links_that_lead_nowhere_are_said(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(NotFound, match="lead nowhere"):
        follow_links(loop)


def test_the_answers_name_a_target() -> None:
    assert target_of(answers=ANSWERS) == Target(
        kind=TargetKind.FREE_SPACE, device=SDA, esp=Path("/dev/sdb1")
    )


@pytest.mark.parametrize(
    "words",
    [
        ("--disk", "/dev/sda", "--partition", "/dev/sda1"),
        ("--disk", "/dev/sda", "--root", "/mnt"),
        ("--root", "/mnt", "--esp", "/dev/sda1"),
        ("--home", "/dev/sda1"),
        ("--root", "/mnt", "--yes-erase", "sda"),
    ],
)
def test_words_that_do_not_go_together(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        target_of(*words)


def test_a_target_of_the_answers_and_of_the_command_line() -> None:
    with pytest.raises(UsageError, match="more than once"):
        target_of("--disk", "/dev/sda", answers=ANSWERS)


class Terminal(io.StringIO):
    def isatty(self) -> bool:  # type: ignore[explicit-override]
        return True


@pytest.mark.parametrize("typed", ["sda\n", "/dev/sda\n", " sda \n"])
def test_the_name_of_the_disk_confirms(
    typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    confirm(plan(), None, named=False)
    asked = capsys.readouterr()
    assert asked.out == ""  # --json prints one document there
    assert asked.err == "Type sda to go on, anything else to stop: "


@pytest.mark.parametrize("typed", ["", "\n", "yes\n", "sdb\n", "sda1\n"])
def test_anything_else_stops(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    with pytest.raises(Refused, match="nothing was changed"):
        confirm(plan(), None, named=False)


def test_without_a_terminal_it_must_be_written_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("sda\n"))
    with pytest.raises(Refused, match="no terminal"):
        confirm(plan(), None, named=False)
    confirm(plan(), "sda", named=False)
    confirm(plan(), None, named=True)
    with pytest.raises(UsageError, match="names sdb"):
        confirm(plan(), "sdb", named=False)
