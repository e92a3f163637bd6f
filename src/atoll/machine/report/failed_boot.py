"""What kernel and early boot said in the last boot that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.host.run import run
from atoll.machine.health.pstore import RECORDS, read_last_panic
from atoll.machine.report.model import FailedBoot

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.machine.health.report import HealthReport

LONGEST_BOOT = 900
"""Seconds after its start in which a boot leaves the messages that are looked for."""
LINES = 120
"""How many of the last lines of a journal or a panic are reported."""


def find_failed_boot(health: HealthReport) -> FailedBoot | None:
    """The last attempt with a recorded failure, else the last that a verdict is about."""
    failed = [
        FailedBoot(
            deployment=deployment, number=each.number, started=each.started, why=each.failure
        )
        for deployment, attempts in health.attempts
        for each in attempts
        if each.failure is not None
    ]
    if failed:
        return max(failed, key=lambda each: (each.started, each.deployment, each.number))
    attempts = dict(health.attempts)
    for deployment, verdict in reversed(health.verdicts):
        last = next(reversed(attempts.get(deployment, ())), None)
        return FailedBoot(
            deployment=deployment,
            number=last.number if last else 0,
            started=last.started if last else 0,
            why=verdict.why,
        )
    return None


def journal_command(started: int) -> list[str]:
    """The command that prints what kernel and early boot wrote to the journal from ``started``
    on."""
    return [
        "journalctl",
        "--quiet",
        "--no-pager",
        "--no-hostname",
        "--output=short-monotonic",
        f"--lines={LINES}",
        f"--since=@{started}",
        f"--until=@{started + LONGEST_BOOT}",
        "_TRANSPORT=kernel",
        "PRIORITY=0",
        "PRIORITY=1",
        "PRIORITY=2",
        "PRIORITY=3",
        "PRIORITY=4",
        "+",
        "_SYSTEMD_UNIT=atoll-early-boot.service",
    ]


def read_boot_messages(failed: FailedBoot, places: tuple[Path, ...] = RECORDS) -> tuple[str, ...]:
    """The journal of that boot as far as it got there, and the kernel's last words as far as the
    firmware kept them. Raises AtollError where the journal cannot be read."""
    panic = read_last_panic(failed.started, places)
    lines = tuple(panic.splitlines()[-LINES:])
    if not failed.started:
        return lines
    text = run(journal_command(failed.started))
    return (*text.decode(errors="replace").splitlines(), *lines)


def read_failed_units() -> tuple[str, ...]:
    """Units of the system that failed in this boot. Raises AtollError."""
    text = run(["systemctl", "list-units", "--failed", "--plain", "--no-legend", "--full"])
    rows = (line.split() for line in text.decode(errors="replace").splitlines())
    return tuple(row[0] for row in rows if row)
