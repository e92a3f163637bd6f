"""Facts over a real D-Bus, from a NetworkManager and a systemd-logind that a test made up."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.machine.auto.decide import Inhibitor, Login
from atoll.machine.auto.facts import read_inhibitors, read_logins, read_metered
from tests.fake_bus import FakeService, private_bus

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parents[2]
SHOW = TOP / "system/usr/lib/atoll/show-update-notice"
LOGIND = "org.freedesktop.login1"
MANAGER = "/org/freedesktop/login1"
SESSION = "org.freedesktop.login1.Session"
NOTIFICATIONS = "org.freedesktop.Notifications"

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("dbus-daemon", "busctl"))), reason="needs dbus-daemon and busctl"
)


def network_manager(metered: int) -> FakeService:
    name = "org.freedesktop.NetworkManager"
    properties = {("/org/freedesktop/NetworkManager", name): {"Metered": ("u", metered)}}
    return FakeService(name=name, properties=properties)


def logind() -> FakeService:
    """ann is at the screen, bob came by ssh, and a greeter waits. A disc is being burned."""
    sessions = [
        ("2", 1000, "ann", "seat0", f"{MANAGER}/session/_32"),
        ("5", 1001, "bob", "", f"{MANAGER}/session/_35"),
        ("c1", 110, "gdm", "seat1", f"{MANAGER}/session/c1"),
    ]
    inhibitors = [
        ("shutdown:sleep", "brasero", "burning a disc", "block", 1000, 77),
        ("sleep", "Player", "a film", "block", 1000, 78),
        ("shutdown", "NetworkManager", "leaves in peace", "delay", 0, 79),
    ]
    person = {"Class": ("s", "user"), "State": ("s", "active"), "Seat": ("(so)", ("", "/"))}
    return FakeService(
        name=LOGIND,
        methods={
            (MANAGER, f"{LOGIND}.Manager", "ListSessions"): ("a(susso)", (sessions,)),
            (MANAGER, f"{LOGIND}.Manager", "ListInhibitors"): ("a(ssssuu)", (inhibitors,)),
        },
        properties={
            (sessions[0][4], SESSION): person | {"Name": ("s", "ann"), "TTY": ("s", "tty2")},
            (sessions[1][4], SESSION): person
            | {"Name": ("s", "bob"), "RemoteHost": ("s", "192.0.2.1")},
            (sessions[2][4], SESSION): person | {"Class": ("s", "greeter")},
        },
    )


@pytest.fixture
def no_questions() -> Iterator[list[str]]:
    """What could not be read: nothing."""
    unknown: list[str] = []
    yield unknown
    assert unknown == []


@pytest.mark.parametrize(
    ("metered", "meaning"), [(0, None), (1, True), (2, False), (3, True), (4, False)]
)
def test_network_manager_says_whether_a_connection_is_metered(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_questions: list[str],
    metered: int,
    meaning: bool | None,
) -> None:
    with private_bus(tmp_path, network_manager(metered)) as address:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        assert read_metered(no_questions) is meaning


def test_who_is_logged_in_and_what_must_not_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_questions: list[str]
) -> None:
    with private_bus(tmp_path, logind()) as address:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        assert read_logins(no_questions) == (
            Login(user="ann", where="tty2"),
            Login(user="bob", where="192.0.2.1"),
        )
        assert read_inhibitors(no_questions) == (Inhibitor(who="brasero", why="burning a disc"),)
        assert read_metered(no_questions) is None


def test_without_an_answer_nobody_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = (FakeService(name="org.freedesktop.NetworkManager"), FakeService(name=LOGIND))
    for services in ((), silent):
        folder = tmp_path / str(len(services))
        folder.mkdir()
        with private_bus(folder, *services) as address:
            monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
            unknown: list[str] = []
            assert read_metered(unknown) is None
            assert len(unknown) == bool(services)
            assert read_logins(unknown) == () and read_inhibitors(unknown) == ()
            assert len(unknown) == 2 + bool(services)
            assert all("\n" not in each for each in unknown)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/absent")
    assert read_logins(unknown) == () and "does not say who is logged in" in unknown[-1]


def test_a_desktop_shows_what_is_ready(tmp_path: Path) -> None:
    notice = tmp_path / "update-notice"
    notice.write_text("hello 2 is ready\nIt starts with the next reboot.\n")
    key = ("/org/freedesktop/Notifications", NOTIFICATIONS, "Notify")
    desktop = FakeService(name=NOTIFICATIONS, methods={key: ("u", (1,))})
    with private_bus(tmp_path, desktop) as address:
        show(notice, address)
        show(tmp_path / "absent", address)
    assert [member for member, _ in desktop.calls] == ["Notify"]
    program, replaces, icon, title, text, actions, hints, expires = desktop.calls[0][1]
    assert (program, title, text) == (
        "Atoll",
        "hello 2 is ready",
        "It starts with the next reboot.",
    )
    assert (replaces, icon, actions, hints, expires) == (0, "system-software-update", [], {}, -1)


def test_a_login_without_a_desktop_shows_nothing_and_fails_nothing(tmp_path: Path) -> None:
    notice = tmp_path / "update-notice"
    notice.write_text("hello 2 is ready\nIt starts with the next reboot.\n")
    with private_bus(tmp_path) as address:
        show(notice, address)


def show(notice: Path, address: str) -> None:
    env = os.environ | {"DBUS_SESSION_BUS_ADDRESS": address}
    done = subprocess.run([SHOW, notice], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
