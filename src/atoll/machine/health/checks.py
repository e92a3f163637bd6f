"""Health checks: they decide whether a new deployment is blessed or the fallback boots.

A check is a program in ``/usr/lib/atoll/health.d`` or ``/etc/atoll/health.d``; it passes with exit
status 0. Checks run in the order of their names. A file in ``/etc`` replaces the one of the same
name in ``/usr``; if it is not executable, there is no such check. Two checks are built in:
multi-user.target is reached, and no essential unit has failed. Neither needs the network.

The results are in ``/run/atoll/health.json``::

    {"format": 1, "when": 1764000000,
     "checks": [{"name": "essential units", "passed": true, "detail": ""}]}
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import ProgramFailed
from atoll.base.fields import parse_json_fields
from atoll.host.fs import read_if_there, replace_file
from atoll.image.paths import HEALTH_CHECKS
from atoll.machine.health.boot_attempts import readable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from atoll.base.report import Reporter

FORMAT = 1
CHECK_SECONDS = 120
VENDOR_CHECKS = Path("/", HEALTH_CHECKS)
LOCAL_CHECKS = Path("/etc/atoll/health.d")
RUN_DIRECTORY = Path("/run/atoll")
WATCHDOGS = Path("/sys/class/watchdog")
TARGET = "multi-user.target"
ESSENTIAL = (
    "systemd-journald.service",
    "systemd-udevd.service",
    "systemd-tmpfiles-setup.service",
    "systemd-logind.service",
    "dbus.service",
    "display-manager.service",
)
_TIMED_OUT = (124, 137)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check that has run; ``detail`` says why it failed."""

    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthResult:
    when: int
    checks: tuple[Check, ...]

    @property
    def healthy(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def why(self) -> str:
        """What failed, on one line; empty when nothing did."""
        return "; ".join(
            f"health check {check.name} failed: {check.detail}"
            for check in self.checks
            if not check.passed
        )


def run_checks(reporter: Reporter, *, when: int) -> HealthResult:
    checks = [*check_units(read_units((TARGET, *ESSENTIAL)))]
    for path in find_checks(VENDOR_CHECKS, LOCAL_CHECKS):
        with reporter.step(f"Health check {path.name}"):
            checks.append(run_check(path))
    return HealthResult(when=when, checks=tuple(checks))


def find_checks(shipped: Path, local: Path) -> tuple[Path, ...]:
    """The programs to run, sorted by name."""
    found: dict[str, Path] = {}
    for directory in (shipped, local):
        for path in directory.iterdir() if directory.is_dir() else ():
            found[path.name] = path
    programs = [found[name] for name in sorted(found) if not name.startswith(".")]
    return tuple(path for path in programs if path.is_file() and os.access(path, os.X_OK))


def run_check(path: Path, *, seconds: int = CHECK_SECONDS) -> Check:
    from atoll.host.run import run

    try:
        run(["timeout", "--kill-after=10", str(seconds), path])
    except ProgramFailed as error:
        if error.status in _TIMED_OUT:
            detail = f"it took longer than {seconds} s"
        else:
            output = readable(error.stderr_tail)
            detail = f"exit status {error.status}{': ' if output else ''}{output}"
        return Check(name=path.name, passed=False, detail=detail)
    return Check(name=path.name, passed=True)


def check_units(states: dict[str, str]) -> Iterator[Check]:
    """The built-in checks. ``states`` maps units to their ActiveState."""
    reached = states.get(TARGET, "unknown")
    yield Check(
        name=TARGET,
        passed=reached == "active",
        detail="" if reached == "active" else f"it is {reached}",
    )
    failed = [unit for unit in ESSENTIAL if states.get(unit) == "failed"]
    yield Check(
        name="essential units",
        passed=not failed,
        detail=f"failed: {', '.join(failed)}" if failed else "",
    )


def read_units(units: Iterable[str]) -> dict[str, str]:
    from atoll.host.run import run

    asked = tuple(units)
    text = run(["systemctl", "show", "--property=ActiveState", "--value", "--", *asked])
    return parse_units(asked, text.decode(errors="replace"))


def parse_units(units: tuple[str, ...], text: str) -> dict[str, str]:
    """The output of ``systemctl show --value`` for ``units``: one line each, with blank lines
    between."""
    return dict(zip(units, text.split(), strict=False))


def format_health(health: HealthResult) -> bytes:
    document = {
        "format": FORMAT,
        "when": health.when,
        "checks": [
            {"name": check.name, "passed": check.passed, "detail": check.detail}
            for check in health.checks
        ],
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def parse_health(data: bytes) -> HealthResult:
    """Raises Damaged."""
    fields = parse_json_fields(data, file="health.json")
    fields.require_format(FORMAT)
    return HealthResult(
        when=fields.integer("when"),
        checks=tuple(
            Check(
                name=check.string("name"),
                passed=check.boolean("passed"),
                detail=check.string("detail"),
            )
            for check in fields.each("checks")
        ),
    )


def write_health(health: HealthResult, directory: Path = RUN_DIRECTORY) -> None:
    """Write the results of this boot, and a flag file for units that wait for them."""
    replace_file(directory / "health.json", format_health(health))
    flag, opposite = ("healthy", "unhealthy") if health.healthy else ("unhealthy", "healthy")
    (directory / opposite).unlink(missing_ok=True)
    replace_file(directory / flag, f"{health.why}\n".encode(errors="replace"))


def read_health(directory: Path = RUN_DIRECTORY) -> HealthResult | None:
    """None before the checks of this boot have run."""
    data = read_if_there(directory / "health.json")
    return None if data is None else parse_health(data)


def find_watchdog(directory: Path = WATCHDOGS) -> str | None:
    """The name that the first watchdog of the machine reports."""
    for path in sorted(directory.glob("watchdog[0-9]*")):
        try:
            return readable((path / "identity").read_text(errors="replace")) or path.name
        except OSError:
            return path.name
    return None


def end_trial(directory: Path = RUN_DIRECTORY) -> None:
    """End the trial of this boot: nothing restarts the machine automatically any more."""
    for name in ("try", "unblessed"):
        (directory / name).unlink(missing_ok=True)
