"""The units of systems that Atoll makes, as text."""

from __future__ import annotations

import re
from pathlib import Path

SYSTEM = Path(__file__).parents[2] / "system"
UNITS = SYSTEM / "usr/lib/systemd/system"
WAITING = re.compile(
    r"network-online|wait-online|time-sync|time-wait|timesyncd|chrony|\binput\b|kbd"
)
"""What nothing of ours may wait for: a machine may have no network, no clock and no keyboard."""


def test_nothing_that_a_boot_waits_for_may_take_for_ever() -> None:
    """systemd sets no limit to a oneshot service that names none, and nobody can log in before
    ``sysinit.target``."""
    texts = {unit.name: unit.read_text() for unit in UNITS.glob("*.service")}
    early = {name: text for name, text in texts.items() if "Before=sysinit.target" in text}
    assert {"atoll-caches.service", "atoll-identities.service"} <= early.keys()
    assert not [name for name, text in early.items() if "\nTimeoutStartSec=" not in text]


def test_nothing_waits_for_a_network_a_clock_or_a_keyboard() -> None:
    folders = (UNITS, SYSTEM / "usr/lib/dracut/modules.d/90atoll")
    kinds = (".service", ".timer", ".conf", ".target")
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in kinds]
    assert len(files) > 20
    for file in files:
        assert not WAITING.search(_without_comments(file.read_text())), file.name


def test_every_timer_counts_from_the_start_and_not_by_the_clock() -> None:
    """Only automatic updates are for a time of the day."""
    by_the_clock = {
        timer.name for timer in UNITS.glob("*.timer") if "OnCalendar" in timer.read_text()
    }
    assert by_the_clock == {"atoll-auto.timer", "atoll-auto-reboot.timer"}


def test_every_program_that_a_unit_starts_is_there() -> None:
    units = [*UNITS.glob("*.service"), *(SYSTEM / "usr/lib/systemd/user").glob("*.service")]
    started = {
        program
        for unit in units
        for program in re.findall(r"^Exec\w+=-?(/usr/lib/atoll/\S+)", unit.read_text(), re.M)
    }
    assert "/usr/lib/atoll/show-update-notice" in started
    assert not [program for program in started if not (SYSTEM / program[1:]).is_file()]


def _without_comments(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
