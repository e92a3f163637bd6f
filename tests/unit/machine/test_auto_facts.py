"""Facts, policy, times and what is told of automatic updates, from files and words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Damaged, RecipeError
from atoll.cli.output.auto import auto_status_as_json, format_auto_status
from atoll.machine.auto.decide import AutoFacts, Login, plan_auto
from atoll.machine.auto.facts import is_on_battery, parse_session
from atoll.machine.auto.last_run import AutoOutcome, LastRun, read_last_run, write_last_run
from atoll.machine.auto.policy import UpdatePolicy, make_update, read_update_policy
from atoll.machine.auto.schedule import REBOOT_TIMER, TIMER, parse_next_times, plan_timers
from atoll.machine.auto.status import AutoStatus
from atoll.machine.boot.boot_entries import BootMenu
from atoll.machine.deployments.announcement import (
    Announcement,
    UpdateStage,
    drop_announcement,
    drop_stale_announcement,
    read_announcement,
    write_announcement,
)
from atoll.machine.deployments.state import MachineState
from atoll.recipe.model import Update

if TYPE_CHECKING:
    from collections.abc import Mapping

MAINS = {"type": "Mains", "online": "1"}
BATTERY = {"type": "Battery", "status": "Discharging"}
MOUSE = BATTERY | {"scope": "Device"}
EMPTY = MachineState(deployments=(), menu=BootMenu(entries=()))


@pytest.mark.parametrize(
    ("supplies", "on_battery"),
    [
        ({}, False),
        ({"AC": MAINS}, False),
        ({"AC": MAINS, "BAT0": BATTERY}, False),
        ({"AC": MAINS | {"online": "0"}, "BAT0": BATTERY}, True),
        ({"AC": MAINS | {"online": "0"}, "BAT0": BATTERY | {"status": "Full"}}, False),
        ({"BAT0": BATTERY}, True),
        ({"mouse": MOUSE}, False),
        ({"BAT0": BATTERY, "usb": {"type": "USB", "online": "1"}}, False),
        ({"broken": {}}, False),
    ],
)
def test_power(tmp_path: Path, supplies: Mapping[str, Mapping[str, str]], on_battery: bool) -> None:
    for name, files in supplies.items():
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(f"{text}\n")
    assert is_on_battery(tmp_path) == on_battery


def test_a_machine_without_power_supplies_is_not_on_battery(tmp_path: Path) -> None:
    assert not is_on_battery(tmp_path / "absent")


PERSON = {"Class": "user", "State": "active", "Name": "ann", "TTY": "tty2", "Seat": ["seat0", "/"]}


@pytest.mark.parametrize(
    ("changed", "login"),
    [
        ({}, Login(user="ann", where="tty2")),
        ({"TTY": ""}, Login(user="ann", where="seat0")),
        ({"TTY": "pts/1", "RemoteHost": "192.0.2.1"}, Login(user="ann", where="192.0.2.1")),
        ({"Class": "user-early"}, Login(user="ann", where="tty2")),
        ({"State": "online"}, Login(user="ann", where="tty2")),
        ({"State": "closing"}, None),
        ({"Class": "greeter", "Name": "gdm"}, None),
        ({"Class": "manager"}, None),
        ({"Class": "background"}, None),
    ],
)
def test_only_people_are_logged_in(changed: dict[str, object], login: Login | None) -> None:
    assert parse_session(PERSON | changed) == login


def test_times_come_from_systemd() -> None:
    timers = [
        {"next": 1_790_000_000_000_000, "unit": TIMER},
        {"next": 0, "unit": REBOOT_TIMER},
        {"next": None, "unit": "other.timer"},
        "odd",
    ]
    assert parse_next_times(timers) == {TIMER: 1_790_000_000}
    assert parse_next_times({}) == {}


def test_timers_run_where_the_policy_wants_them() -> None:
    def drop_ins(update: Update) -> list[str]:
        return [plan.drop_in for plan in plan_timers(update)]

    assert drop_ins(Update()) == ["", ""]
    assert drop_ins(Update(auto="reboot"))[1] == ""
    window, reboot = drop_ins(
        Update(auto="reboot", window="Sun 03:00", delay=60, reboot_window="Sun 04:00")
    )
    assert window.endswith("OnCalendar=\nOnCalendar=Sun 03:00\nRandomizedDelaySec=60\n")
    assert "OnCalendar=Sun 04:00\n" in reboot
    assert drop_ins(Update(auto="stage", reboot_window="Sun 04:00"))[1] == ""


def image_policy(folder: Path, **update: object) -> Path:
    path = folder / "policy.json"
    path.write_text(json.dumps({"format": 1, "keep": None, "etc": [], "update": update}))
    return path


def test_the_images_policy_holds_without_one_of_the_machine(tmp_path: Path) -> None:
    image = image_policy(tmp_path, follow=None, auto="stage", window="weekly", delay=5)
    machine = tmp_path / "machine.toml"
    found = read_update_policy(image, machine)
    assert found.update == Update(auto="stage", window="weekly", delay=5)
    assert found.source == image
    machine.write_text("schema = 1\n[keep]\ndeployments = 3\n")
    assert read_update_policy(image, machine) == found
    assert read_update_policy(tmp_path / "absent", machine).update == Update()


def test_the_machine_file_wins_key_by_key(tmp_path: Path) -> None:
    """Who only allows a metered connection wants the rest as it is."""
    image = image_policy(tmp_path, follow=None, auto="stage", window="weekly", delay=5)
    machine = tmp_path / "machine.toml"
    machine.write_text("schema = 1\n[update]\nmetered = true\ndelay = 0\n")
    found = read_update_policy(image, machine)
    assert found.update == Update(auto="stage", window="weekly", delay=0, metered=True)
    assert found.source == machine
    machine.write_text('schema = 1\n[update]\nauto = "always"\n')
    with pytest.raises(RecipeError, match="none, check, download, stage, reboot"):
        read_update_policy(image, machine)


def test_a_newer_image_may_have_more_keys() -> None:
    assert make_update({"auto": "check", "moon": "full"}) == Update(auto="check")


@pytest.mark.parametrize("table", [{"auto": "always"}, {"delay": "1"}, {"metered": 1}])
def test_a_wrong_policy_is_damage(table: dict[str, object]) -> None:
    with pytest.raises(Damaged):
        make_update(table)


def test_the_last_run_is_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / "auto.json"
    assert read_last_run(path) is None
    last = LastRun(when=1_790_000_000, outcome=AutoOutcome.NOT_NOW, text="the battery")
    write_last_run(last, path)
    assert read_last_run(path) == last
    path.write_text(path.read_text().replace("not now", "maybe"))
    with pytest.raises(Damaged):
        read_last_run(path)


def test_an_announcement_is_told_and_goes_when_it_no_longer_holds(tmp_path: Path) -> None:
    staged = Announcement(what=UpdateStage.STAGED, title="hello 2", tree="ab")
    write_announcement(staged, run=tmp_path)
    assert read_announcement(run=tmp_path) == staged
    title, text = (tmp_path / "atoll/update-notice").read_text().splitlines()
    assert title == "hello 2 is ready" and "next reboot" in text and "atoll plan" in text
    assert (tmp_path / "motd.d/60-atoll-update").read_text().startswith("hello 2 is ready.\n")
    drop_stale_announcement(EMPTY, run=tmp_path)
    assert read_announcement(run=tmp_path) is None
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_is_said_again_is_not_written_again(tmp_path: Path) -> None:
    """Each change of the file shows a notification."""
    found = Announcement(what=UpdateStage.AVAILABLE, title="hello 2", tree="ab")
    write_announcement(found, run=tmp_path)
    notice = tmp_path / "atoll/update-notice"
    before = notice.stat().st_ino
    write_announcement(found, run=tmp_path)
    assert notice.stat().st_ino == before
    drop_stale_announcement(EMPTY, run=tmp_path)
    assert read_announcement(run=tmp_path) == found
    drop_announcement(run=tmp_path)
    drop_announcement(run=tmp_path)


def test_an_unreadable_announcement_goes(tmp_path: Path) -> None:
    write_announcement(
        Announcement(what=UpdateStage.STAGED, title="hello 2", tree="ab"), run=tmp_path
    )
    (tmp_path / "atoll/update.json").write_text("{")
    drop_stale_announcement(EMPTY, run=tmp_path)
    assert not (tmp_path / "motd.d/60-atoll-update").exists()


def test_the_status_says_when_what_and_why_not() -> None:
    facts = AutoFacts(on_battery=True, free=9 * 10**9, logins=(Login(user="ann", where="tty2"),))

    def lines(update: Update) -> list[str]:
        policy = UpdatePolicy(update=update, source=Path("/etc/atoll/machine.toml"))
        status = AutoStatus(
            policy=policy,
            facts=facts,
            decision=plan_auto(facts, update, reboot_time=True),
            next_run=1_790_000_000,
            next_reboot=None,
            last=None,
            ready=None,
        )
        assert auto_status_as_json(status)["next"] == 1_790_000_000
        return format_auto_status(status).splitlines()

    source = "(from /etc/atoll/machine.toml)"
    assert lines(Update()) == [f"policy    none: off {source}"]
    assert lines(Update(auto="check"))[-1] == "now       would look for a new version"
    told = lines(Update(auto="reboot", reboot_window="Sun 04:00", delay=0))
    assert told[1].startswith("when      daily; next: 2026-09-2")
    assert told[2:] == [
        "reboot    Sun 04:00; next: the timer does not run"
        " (see: systemctl status atoll-auto-reboot.timer)",
        "now       would only look for a new version:",
        "          the machine runs on battery",
        "reboot    not now:",
        "          the machine runs on battery",
        "          ann is logged in (tty2)",
    ]
