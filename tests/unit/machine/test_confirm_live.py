"""A live change that must be confirmed: whatever happens before, the older system boots."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import NothingToDo, Refused
from atoll.base.report import NullReporter
from atoll.cli.main import main
from atoll.machine import confirm
from atoll.machine.cancel import cancel
from atoll.machine.confirm import format_expired
from atoll.machine.confirm_live import (
    confirm_live,
    go_back_live,
    go_live_unconfirmed,
    take_back_live,
)
from atoll.machine.deployments.confirmation import (
    Confirmation,
    find_unconfirmed,
    read_confirmation,
    read_waiting,
)
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.live import live
from atoll.machine.live.record import LivePlaces
from atoll.machine.upgrade import UpgradeRequest, upgrade
from tests.machines import Maker, check_machine

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.root

QUIET = NullReporter()
UPGRADE = UpgradeRequest(verb="upgrade")
SYSTEMCTL = """#!/bin/sh
echo "systemctl $*" >> {run}/calls
[ "$1" = start ] || exit 0
to=$(sed 's/.*"to": \\([0-9]*\\).*/\\1/' {run}/live-change.json)
[ ! -e {run}/breaks ] || exit 1
rm {run}/live-change.json
if [ -e {run}/refuses ]; then
    echo '{{"error": "no", "hint": "", "warnings": []}}' > {run}/live-result.json
    exit 1
fi
rm -f {run}/running
[ "$to" = 1 ] || echo "{{\\"deployment\\": $to}}" > {run}/running
echo '{{"error": "", "hint": "", "warnings": []}}' > {run}/live-result.json
"""
"""Stands for systemctl and atoll-live.service, which makes what is asked for, refuses, or breaks
off."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine that runs version 1, with version 2 staged."""
    place = tmp_path_factory.mktemp("prepared")
    maker = Maker(place / "maker")
    found = maker.install(place / "machine", maker.publish("1"))
    maker.publish("2", {"etc/two.conf": "two\n"})
    upgrade(found, UPGRADE, QUIET)
    return place / "machine"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands for ``/run/atoll``."""
    run = tmp_path / "run"
    programs = tmp_path / "programs"
    for folder in (run, programs):
        folder.mkdir()
    for name, text in (
        ("systemctl", SYSTEMCTL.format(run=run)),
        ("systemd-run", f'#!/bin/sh\necho "systemd-run $*" >> {run}/calls\n'),
    ):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/usr/sbin:/bin:/sbin")
    monkeypatch.setattr(live, "PLACES", LivePlaces(root=tmp_path / "root", run=run))
    monkeypatch.setattr(confirm, "WAITING", run / "confirm.json")
    return run


@pytest.fixture
def machine(prepared: Path, run: Path, tmp_path: Path) -> Sysroot:
    assert run.is_dir()
    shutil.copytree(prepared, tmp_path / "machine", symlinks=True)
    return Sysroot(root=tmp_path / "machine", esp=tmp_path / "machine/esp", booted=1)


def go(machine: Sysroot) -> Sysroot:
    go_live_unconfirmed(machine, 2, 600, QUIET)
    return replace(machine, applied=2)


def boots_next(machine: Sysroot) -> int:
    default = read_state(machine).default
    assert default is not None
    check_machine(machine)
    return default.number


def is_held(machine: Sysroot) -> bool:
    found = read_state(machine).find(2)
    assert found is not None
    return found.held


def test_while_it_waits_the_older_deployment_boots_next(machine: Sysroot, run: Path) -> None:
    waits = go(machine)
    assert boots_next(machine) == 1 and is_held(machine)
    found = find_unconfirmed(waits)
    assert found == Confirmation(deployment=2, back=1, seconds=600, expired=True)
    waiting = read_waiting(run / "confirm.json")
    assert waiting is not None and waiting.back == "hello 1 (1)" and 500 < waiting.left <= 600
    # The timer is there before anything changes.
    calls = (run / "calls").read_text().splitlines()
    assert calls[-2].endswith("--on-active=600s --timer-property=AccuracySec=1s")
    assert calls[-1] == "systemctl start atoll-live.service"
    with pytest.raises(Refused, match="has not been confirmed"):
        upgrade(waits, UpgradeRequest(verb="upgrade", even_held=True), QUIET)


def test_after_a_reboot_the_older_one_says_so_and_the_other_is_not_installed_again(
    machine: Sysroot,
) -> None:
    go(machine)
    told = format_expired(machine, read_state(machine))
    assert told.startswith("hello 2 (2) was not confirmed within 10 min")
    assert find_unconfirmed(machine) is None
    with pytest.raises(Refused, match="held"):
        upgrade(machine, UPGRADE, QUIET)


def test_somebody_who_boots_it_all_the_same_is_asked(machine: Sysroot) -> None:
    go(machine)
    assert find_unconfirmed(replace(machine, booted=2)) is not None


def test_confirmed_it_boots_next_on_trial_as_after_any_live_change(
    machine: Sysroot, run: Path
) -> None:
    waits = go(machine)
    assert confirm_live(waits) == "hello 2 (2)"
    assert boots_next(machine) == 2 and not is_held(machine)
    state = read_state(machine)
    assert [each.name.tries_left for each in state.menu.entries_of(2)] == [3]
    assert read_confirmation(machine) is None and not (run / "confirm.json").exists()
    with pytest.raises(NothingToDo):
        confirm_live(waits)


def test_when_nobody_confirms_it_goes_back_without_a_reboot(machine: Sysroot, run: Path) -> None:
    waits = go(machine)
    found = find_unconfirmed(waits)
    assert found is not None
    go_back_live(waits, found, QUIET)
    assert not (run / "running").exists() and not (run / "confirm.json").exists()
    assert boots_next(machine) == 1 and is_held(machine)
    assert "was not confirmed" in format_expired(machine, read_state(machine))


def test_what_cannot_go_live_boots_next_and_asks_then(machine: Sysroot, run: Path) -> None:
    (run / "refuses").touch()
    with pytest.raises(Refused, match="no"):
        go_live_unconfirmed(machine, 2, 600, QUIET)
    assert boots_next(machine) == 2 and not is_held(machine)
    asked = find_unconfirmed(replace(machine, booted=2))
    assert asked == Confirmation(deployment=2, back=1, seconds=600)
    assert format_expired(machine, read_state(machine)) == ""
    assert (run / "calls").read_text().splitlines()[-1] == "systemctl stop atoll-go-back.timer"


def test_a_change_that_was_broken_off_is_still_waited_for(machine: Sysroot, run: Path) -> None:
    """atoll-live.service continues it by itself."""
    (run / "breaks").touch()
    with pytest.raises(Refused, match="did not finish"):
        go_live_unconfirmed(machine, 2, 600, QUIET)
    assert boots_next(machine) == 1 and (run / "confirm.json").exists()


def test_what_needs_a_reboot_says_so_and_its_boot_asks(
    machine: Sysroot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "check_live", lambda *_: ("another kernel",))
    with pytest.raises(Refused, match="needs a reboot: another kernel"):
        go_live_unconfirmed(machine, 2, 600, QUIET)
    assert boots_next(machine) == 2
    assert find_unconfirmed(replace(machine, booted=2)) is not None


def test_without_a_way_back_nothing_changes(machine: Sysroot, run: Path) -> None:
    (machine.state / "blessed/1").unlink()
    (machine.entries / "atoll-1.conf").rename(machine.entries / "atoll-1+3.conf")
    with pytest.raises(Refused, match="was not healthy so far"):
        go_live_unconfirmed(machine, 2, 600, QUIET)
    default = read_state(machine).default
    assert default is not None and default.number == 2 and not default.held
    assert not (run / "calls").exists() and read_confirmation(machine) is None


def test_cancelled_it_is_as_if_it_never_was(machine: Sysroot) -> None:
    done = cancel(go(machine), QUIET)
    assert done.dropped == ("the live change to deployment 2", "hello 2 (2)")
    assert boots_next(machine) == 1 and read_confirmation(machine) is None
    assert [each.number for each in read_state(machine).deployments] == [1]
    assert read_state(machine).held == {}


def test_taken_back_by_hand_nothing_is_held(machine: Sysroot) -> None:
    take_back_live(go(machine), QUIET)
    assert boots_next(machine) == 1 and not is_held(machine)
    assert read_confirmation(machine) is None


@pytest.mark.parametrize("words", ["apply --live --undo --confirm 10m", "add htop --confirm 1s"])
def test_wrong_words_change_nothing(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    assert "--confirm" in capsys.readouterr().err
