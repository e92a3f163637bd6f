"""Everything that is known about the health of a machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.machine.deployments.flags import read_flags
from atoll.machine.health.boot_attempts import read_attempts, read_verdict
from atoll.machine.health.checks import find_watchdog, read_health

if TYPE_CHECKING:
    from atoll.base.ids import TreeId
    from atoll.machine.deployments.flags import Hold
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.health.boot_attempts import BootAttempt, BootVerdict
    from atoll.machine.health.checks import HealthResult


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthReport:
    """``health`` and ``watchdog`` are of the running machine; ``held`` has the newest first."""

    booted: int | None
    health: HealthResult | None
    watchdog: str | None
    attempts: tuple[tuple[int, tuple[BootAttempt, ...]], ...]
    verdicts: tuple[tuple[int, BootVerdict], ...]
    held: tuple[tuple[TreeId, Hold], ...]


def read_report(sysroot: Sysroot) -> HealthReport:
    runs = sysroot.booted is not None
    folder = sysroot.state / "tries"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    tried = sorted(int(name) for name in names if name.isdecimal())
    verdicts = ((number, read_verdict(sysroot, number)) for number in tried)
    return HealthReport(
        booted=sysroot.booted,
        health=read_health() if runs else None,
        watchdog=find_watchdog() if runs else None,
        attempts=tuple((number, read_attempts(sysroot, number)) for number in tried),
        verdicts=tuple((number, verdict) for number, verdict in verdicts if verdict),
        held=tuple(sorted(read_flags(sysroot.state).held.items(), key=lambda held: -held[1].when)),
    )
