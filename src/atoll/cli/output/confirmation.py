"""What has to be confirmed, for ``atoll status``."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError
from atoll.base.text import one_line
from atoll.machine.deployments.confirmation import (
    format_duration,
    read_confirmation,
    read_waiting,
)

if TYPE_CHECKING:
    from atoll.machine.deployments.confirmation import Confirmation
    from atoll.machine.deployments.state import MachineState
    from atoll.machine.deployments.sysroot import Sysroot


def confirmation_lines(sysroot: Sysroot, state: MachineState) -> list[str]:
    """What has to be confirmed, and until when: what runs, or what boots next."""
    waiting = read_waiting() if sysroot.is_running else None
    if waiting is not None:
        left = f"{format_duration(waiting.left)} left" if waiting.left else "the time is over"
        return [
            f"NOT CONFIRMED: {left}, then the machine goes back to {one_line(waiting.back)}",
            "  to keep this version: sudo atoll confirm",
        ]
    found = _read_confirmation(sysroot)
    default = state.default
    if found is None or default is None or found.deployment != default.number or default.booted:
        return []
    time = format_duration(found.seconds)
    return [f"{one_line(default.deployment.title)} must be confirmed within {time} of its boot"]


def confirmation_as_json(sysroot: Sysroot) -> dict[str, object] | None:
    """None where nothing has to be confirmed, and nothing was that expired."""
    waiting = read_waiting() if sysroot.is_running else None
    found = _read_confirmation(sysroot)
    if waiting is None and found is None:
        return None
    return {
        "deployment": waiting.deployment if waiting else found and found.deployment,
        "seconds": found and found.seconds,
        "left": waiting and waiting.left,
        "expired": bool(found and found.expired),
    }


def _read_confirmation(sysroot: Sysroot) -> Confirmation | None:
    """None as well for a user who may not read it, and where it cannot be read."""
    with suppress(AtollError, OSError):
        return read_confirmation(sysroot)
    return None
