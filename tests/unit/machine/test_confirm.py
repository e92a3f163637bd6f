"""A version that must be confirmed: what is recorded, what forgets it, and going back."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Damaged, NothingToDo, Refused, UsageError
from atoll.base.report import NullReporter
from atoll.cli.main import main
from atoll.machine.cancel import cancel
from atoll.machine.confirm import confirm, format_expired, go_back
from atoll.machine.deployments.confirmation import (
    Confirmation,
    WaitingConfirmation,
    find_unconfirmed,
    format_duration,
    format_waiting,
    parse_duration,
    read_confirmation,
    read_waiting,
    set_expired,
)
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.health.checks import Check, HealthResult
from atoll.machine.operation_list import list_upgrade_operations
from atoll.machine.rollback import rollback
from atoll.machine.upgrade import UpgradeRequest, preview_upgrade, upgrade
from tests.machines import Maker, check_machine

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.root

QUIET = NullReporter()
UPGRADE = UpgradeRequest(verb="upgrade")
CONFIRM = UpgradeRequest(verb="upgrade", confirm=600)
GOOD = HealthResult(when=0, checks=())
BAD = HealthResult(when=0, checks=(Check(name="web", passed=False),))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine with version 1, as ``before``, and after ``upgrade --confirm``; 3 is new."""
    place = tmp_path_factory.mktemp("prepared")
    maker = Maker(place / "maker")
    found = maker.install(place / "machine", maker.publish("1"))
    maker.publish("2", {"etc/two.conf": "two\n"})
    shutil.copytree(place / "machine", place / "before", symlinks=True)
    upgrade(found, CONFIRM, QUIET)
    maker.publish("3")
    return place


def copy_machine(prepared: Path, name: str, into: Path) -> Sysroot:
    shutil.copytree(prepared / name, into, symlinks=True)
    return Sysroot(root=into, esp=into / "esp")


@pytest.fixture
def machine(prepared: Path, tmp_path: Path) -> Sysroot:
    """One that ``upgrade --confirm`` was run on; its reboot is still to come."""
    return copy_machine(prepared, "machine", tmp_path / "machine")


@pytest.fixture
def before(prepared: Path, tmp_path: Path) -> Sysroot:
    """One that can be upgraded."""
    return copy_machine(prepared, "before", tmp_path / "before")


def running(sysroot: Sysroot, number: int) -> Sysroot:
    return replace(sysroot, booted=number)


def test_the_request_names_what_boots_next_and_where_to_go_back(machine: Sysroot) -> None:
    wanted = Confirmation(deployment=2, back=1, seconds=600)
    assert read_confirmation(machine) == wanted
    assert find_unconfirmed(running(machine, 1)) is None
    assert find_unconfirmed(running(machine, 2)) == wanted
    check_machine(machine)


def test_it_is_recorded_before_the_entry_that_boots_it(before: Sysroot) -> None:
    upgrade(before, UpgradeRequest(verb="upgrade", download_only=True), QUIET)
    listed = [each.describe() for each in list_upgrade_operations(before, CONFIRM)]
    record = next(place for place, each in enumerate(listed) if "confirm.json" in each)
    numbers = next(place for place, each in enumerate(listed) if "numbers.json" in each)
    entry = next(place for place, each in enumerate(listed) if "atoll-2+3.conf" in each)
    assert numbers < record < entry


def test_nothing_is_staged_while_it_waits(machine: Sysroot) -> None:
    waiting = running(machine, 2)
    with pytest.raises(Refused, match="has not been confirmed"):
        upgrade(waiting, UPGRADE, QUIET)
    obstacle = preview_upgrade(waiting, UPGRADE).obstacle
    assert obstacle is not None and obstacle.hint is not None and "atoll confirm" in obstacle.hint


def test_when_nobody_confirms_the_version_before_boots_and_this_one_is_held(
    machine: Sysroot,
) -> None:
    back = go_back(running(machine, 2), QUIET)
    assert back is not None and back.target.number == 1
    state = read_state(running(machine, 1))
    assert state.default is not None and state.default.number == 1
    assert state.deployments[0].held
    told = format_expired(running(machine, 1), state)
    assert told.startswith("hello 2 (2) was not confirmed within 10 min")
    assert format_expired(running(machine, 2), state) == ""
    check_machine(machine)


def test_going_back_twice_is_going_back(machine: Sysroot) -> None:
    """The machine may lose power between the commit and the reboot."""
    go_back(running(machine, 2), QUIET)
    assert go_back(running(machine, 2), QUIET) is None
    default = read_state(machine).default
    assert default is not None and default.number == 1


def test_without_the_version_before_any_good_one_will_do(machine: Sysroot) -> None:
    from atoll.machine.deployments.apply import apply_operations
    from atoll.machine.deployments.confirmation import set_confirmation

    apply_operations([set_confirmation(machine, Confirmation(deployment=2, back=9, seconds=60))])
    back = go_back(running(machine, 2), QUIET)
    assert back is not None and back.target.number == 1


def test_a_confirmed_version_stays(machine: Sysroot) -> None:
    (machine.state / "blessed/2").touch()
    with pytest.raises(NothingToDo):
        go_back(running(machine, 2), QUIET)
    with pytest.raises(NothingToDo):
        confirm(running(machine, 2), GOOD, QUIET)


def test_confirming_blesses_it_and_forgets_the_request(machine: Sysroot) -> None:
    assert confirm(running(machine, 2), GOOD, QUIET) == "hello 2 (2)"
    state = read_state(machine)
    assert state.default is not None and state.default.number == 2 and state.default.blessed
    assert [each.name.tries_left for each in state.menu.entries_of(2)] == [None]
    assert read_confirmation(machine) is None
    check_machine(machine)


@pytest.mark.parametrize("health", [None, BAD])
def test_a_boot_that_is_not_known_to_be_good_is_confirmed_but_not_blessed(
    machine: Sysroot, health: HealthResult | None
) -> None:
    confirm(running(machine, 2), health, QUIET)
    assert read_confirmation(machine) is None
    assert not read_state(machine).deployments[0].blessed


def test_a_damaged_record_can_be_confirmed(machine: Sysroot) -> None:
    (machine.state / "confirm.json").write_text("{")
    confirm(running(machine, 2), GOOD, QUIET)
    assert read_confirmation(machine) is None


def test_nothing_to_confirm_says_what_comes(machine: Sysroot) -> None:
    with pytest.raises(NothingToDo) as told:
        confirm(running(machine, 1), GOOD, QUIET)
    assert told.value.hint == "hello 2 (2) has to be, after the reboot"


def test_a_choice_by_hand_forgets_the_request(machine: Sysroot) -> None:
    rollback(running(machine, 2), "number:1", QUIET, keep_etc=False)
    assert read_confirmation(machine) is None


def test_a_cancelled_upgrade_needs_no_confirmation(machine: Sysroot) -> None:
    cancel(running(machine, 1), QUIET)
    assert read_confirmation(machine) is None


def test_after_it_went_back_the_record_stays_until_it_is_tried_again(machine: Sysroot) -> None:
    go_back(running(machine, 2), QUIET)
    rollback(running(machine, 1), "number:2", QUIET, keep_etc=False)
    assert read_confirmation(machine) is None


def test_the_next_upgrade_forgets_what_expired(machine: Sysroot) -> None:
    go_back(running(machine, 2), QUIET)
    assert read_confirmation(machine) is not None
    upgrade(running(machine, 1), UPGRADE, QUIET)
    assert read_confirmation(machine) is None


def test_without_a_way_back_it_is_refused(before: Sysroot) -> None:
    (before.state / "blessed/1").unlink()
    (before.entries / "atoll-1.conf").rename(before.entries / "atoll-1+3.conf")
    with pytest.raises(Refused, match="was not healthy so far"):
        upgrade(before, CONFIRM, QUIET)
    assert read_confirmation(before) is None


def test_a_damaged_record_is_not_absent(machine: Sysroot) -> None:
    (machine.state / "confirm.json").write_text("{")
    with pytest.raises(Damaged):
        find_unconfirmed(running(machine, 2))
    with pytest.raises(Damaged):
        upgrade(running(machine, 2), UPGRADE, QUIET)


def test_status_tells_of_it(machine: Sysroot, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--root", str(machine.root)]) == 0
    assert "hello 2 (2) must be confirmed within 10 min of its boot" in capsys.readouterr().err
    assert main(["status", "--root", str(machine.root), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["confirm"]
    assert found == {"deployment": 2, "seconds": 600, "left": None, "expired": False}


def test_an_expired_request_is_still_one_for_its_own_deployment(machine: Sysroot) -> None:
    """Power may fail before the rollback that follows."""
    from atoll.machine.deployments.apply import apply_operations

    apply_operations([set_expired(machine, Confirmation(deployment=2, back=1, seconds=600))])
    assert find_unconfirmed(running(machine, 2)) is not None


@pytest.mark.parametrize(
    ("text", "seconds", "words"),
    [
        ("90s", 90, "1 min 30 s"),
        ("10m", 600, "10 min"),
        ("10min", 600, "10 min"),
        ("1h30m", 5400, "1 h 30 min"),
    ],
)
def test_times(text: str, seconds: int, words: str) -> None:
    assert parse_duration(text) == seconds
    assert format_duration(seconds) == words


@pytest.mark.parametrize("text", ["", "10", "m", "ten minutes", "-5m", "1.5h", "10m5"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_duration(text)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--confirm", "5s"], "from 30 s to 168 h"),
        (["--confirm", "soon"], "is not a time"),
        (["--confirm", "10m", "--check"], "the next reboot starts"),
    ],
)
def test_wrong_words_change_nothing(
    machine: Sysroot, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["upgrade", *words, "--root", str(machine.root)]) == 2
    assert told in capsys.readouterr().err


def test_what_everyone_may_read_is_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / "confirm.json"
    assert read_waiting(path) is None
    waiting = WaitingConfirmation(deployment=2, title="hello 2", back="hello 1", until=0.0)
    path.write_bytes(format_waiting(waiting))
    assert read_waiting(path) == waiting
    assert waiting.left == 0
