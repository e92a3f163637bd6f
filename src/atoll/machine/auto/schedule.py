"""When automatic updates run: the policy becomes settings of two systemd timers.

The timers are shipped; what the policy says is a drop-in for each, in ``/run``, so that settings of
the administrator in ``/etc/systemd/system/atoll-auto.timer.d`` still win. They are written at each
boot and when the machine file changes (``atoll-auto-schedule.path``), without a reboot.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import ProgramFailed, RecipeError
from atoll.base.json import parse_json
from atoll.host.fs import make_directory, read_if_there, replace_file
from atoll.host.run import run

if TYPE_CHECKING:
    from atoll.machine.auto.policy import UpdatePolicy
    from atoll.recipe.model import Update

UNITS = Path("/run/systemd/system")
DROP_IN = "50-policy.conf"
TIMER, REBOOT_TIMER = "atoll-auto.timer", "atoll-auto-reboot.timer"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerPlan:
    """A timer and its drop-in; empty if the timer must not run."""

    unit: str
    drop_in: str

    @property
    def path(self) -> Path:
        """Below the directory of units."""
        return Path(f"{self.unit}.d", DROP_IN)


def plan_timers(update: Update) -> tuple[TimerPlan, ...]:
    """Both timers, as the policy wants them."""
    window = update.window if update.auto != "none" else None
    reboot = update.reboot_window if update.auto == "reboot" else None
    return (
        TimerPlan(unit=TIMER, drop_in=_format_drop_in(window, update.delay)),
        TimerPlan(unit=REBOOT_TIMER, drop_in=_format_drop_in(reboot, update.delay)),
    )


def _format_drop_in(window: str | None, delay: int) -> str:
    if window is None:
        return ""
    # An empty assignment forgets the one of the shipped timer.
    return (
        "# Written by: atoll auto schedule, from [update] of the policy.\n"
        f"[Timer]\nOnCalendar=\nOnCalendar={window}\nRandomizedDelaySec={delay}\n"
    )


def apply_schedule(policy: UpdatePolicy, *, units: Path = UNITS) -> bool:
    """Make systemd run the timers as the policy says; whether their settings changed.

    Raises RecipeError for a window that systemd does not understand: the timers stay as they were.
    """
    _check_windows(policy)
    plans = plan_timers(policy.update)
    changed = tuple(plan for plan in plans if _write(plan, units))
    if changed:
        run(["systemctl", "daemon-reload"])
    for plan in plans:
        verb = "stop" if not plan.drop_in else "restart" if plan in changed else "start"
        run(["systemctl", verb, plan.unit])
    return bool(changed)


def _check_windows(policy: UpdatePolicy) -> None:
    for key in ("window", "reboot_window"):
        window = getattr(policy.update, key)
        if window is None:
            continue
        try:
            run(["systemd-analyze", "calendar", "--", window])
        except ProgramFailed as error:
            raise RecipeError(
                f"{window!r} is not a systemd calendar time",
                file=policy.source,
                key=f"update.{key}",
                hint=f"try it: systemd-analyze calendar '{window}'",
            ) from error


def _write(plan: TimerPlan, units: Path) -> bool:
    path = units / plan.path
    if (read_if_there(path) or b"") == plan.drop_in.encode():
        return False
    if plan.drop_in:
        make_directory(path.parent)
        replace_file(path, plan.drop_in.encode())
    else:
        path.unlink(missing_ok=True)
    return True


def read_next_times() -> dict[str, int]:
    """When each timer elapses next, in seconds since 1970; timers that do not run are left out."""
    text = run(["systemctl", "list-timers", "--output=json", TIMER, REBOOT_TIMER])
    found = parse_json(text or b"[]", where="the output of systemctl list-timers")
    return parse_next_times(found)


def parse_next_times(timers: object) -> dict[str, int]:
    """``next`` of each timer is in microseconds since 1970; 0 or null if it is not known."""
    if not isinstance(timers, list):
        return {}
    return {
        str(each["unit"]): each["next"] // 1_000_000
        for each in timers
        if isinstance(each, dict) and "unit" in each and type(each.get("next")) is int
        if each["next"]
    }
