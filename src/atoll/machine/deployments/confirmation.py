"""A deployment that has to be confirmed: ``--confirm 10m``, after a reboot or a live change.

::

    atoll/state/confirm.json   {"format": 1, "deployment": 5, "back": 4, "seconds": 600,
                                "expired": false}
    /run/atoll/confirm.json    {"format": 1, "deployment": 5, "title": "hello 2", "back": "hello 1",
                                "until": <seconds of the monotonic clock>}

The first is durable before the boot entry of its deployment is written, so no power cut makes a
deployment boot that would not ask. While its deployment runs and was not confirmed, the deployment
is not blessed: its boots stay counted. After a live change it is the deployment that is live
(``confirm_live``). The second is readable for everyone; it exists while the running machine waits.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, Refused, UsageError
from atoll.base.fields import parse_json_fields
from atoll.host.fs import read_if_there
from atoll.machine.deployments.flags import BLESSED, ClearFlag, SetFlag

if TYPE_CHECKING:
    from atoll.machine.deployments.state import DeploymentState
    from atoll.machine.deployments.sysroot import Sysroot

NAME = "confirm.json"
WAITING = Path("/run/atoll", NAME)
FORMAT = 1
LEAST_SECONDS, MOST_SECONDS = 30, 7 * 24 * 3600
"""What ``--confirm`` takes."""
_TIME = re.compile(r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m(?:in)?)?(?:([0-9]{1,6})s)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """``deployment`` has to be confirmed ``seconds`` after it is up; otherwise the machine goes to
    the deployment ``back``. ``expired``: it was not confirmed, and the machine went back."""

    deployment: int
    back: int
    seconds: int
    expired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingConfirmation:
    """The machine waits. ``title`` is what runs, ``back`` what would run again; ``until`` is a time
    of the monotonic clock, in seconds."""

    deployment: int
    title: str
    back: str
    until: float

    @property
    def left(self) -> int:
        """Whole seconds that are left."""
        return max(0, int(self.until - time.monotonic()))


def read_confirmation(sysroot: Sysroot) -> Confirmation | None:
    """The recorded request, also where its deployment does not run. Raises Damaged or OSError."""
    path = sysroot.state / NAME
    data = read_if_there(path)
    if data is None:
        return None
    fields = parse_json_fields(data, file=str(path))
    fields.require_format(FORMAT)
    return Confirmation(
        deployment=fields.number("deployment", least=1),
        back=fields.number("back", least=1),
        seconds=fields.number("seconds", least=1),
        expired=fields.boolean("expired"),
    )


def find_unconfirmed(sysroot: Sysroot) -> Confirmation | None:
    """The request for the deployment that runs, booted or live; None if it need not be
    confirmed."""
    if not sysroot.state.is_dir():
        # What is in its place is moved aside by the next change (``displaced``).
        return None
    found = read_confirmation(sysroot)
    if found is None or found.deployment != sysroot.running:
        return None
    if sysroot.applied is not None:
        return found
    # Confirming blesses it before it forgets the request.
    return None if (sysroot.state / BLESSED / str(found.deployment)).exists() else found


def require_confirmed(sysroot: Sysroot) -> None:
    """Raises Refused while the running deployment waits to be confirmed: it may go away, and what
    is staged from it would carry over its settings."""
    if find_unconfirmed(sysroot) is not None:
        raise Refused(
            "the running deployment has not been confirmed",
            hint="to keep it: atoll confirm; to go back now: atoll rollback",
        )


def set_confirmation(sysroot: Sysroot, confirmation: Confirmation) -> SetFlag:
    document = {
        "format": FORMAT,
        "deployment": confirmation.deployment,
        "back": confirmation.back,
        "seconds": confirmation.seconds,
        "expired": confirmation.expired,
    }
    return SetFlag(path=sysroot.state / NAME, content=json.dumps(document).encode() + b"\n")


def set_expired(sysroot: Sysroot, confirmation: Confirmation) -> SetFlag:
    return set_confirmation(sysroot, replace(confirmation, expired=True))


def require_way_back(current: DeploymentState) -> None:
    """Raises Refused when there would be nothing to go back to from the next deployment."""
    if not current.blessed:
        raise Refused(
            f"{current.deployment.title} was not healthy so far, so the machine could not go back"
            " to it",
            hint="see: atoll health; without --confirm the upgrade works",
        )


def clear_confirmation(sysroot: Sysroot) -> tuple[ClearFlag, ...]:
    """What removes the record; nothing where there is none."""
    path = sysroot.state / NAME
    return (ClearFlag(path=path),) if path.exists() else ()


def format_waiting(waiting: WaitingConfirmation) -> bytes:
    document = {
        "format": FORMAT,
        "deployment": waiting.deployment,
        "title": waiting.title,
        "back": waiting.back,
        "until": int(waiting.until),
    }
    return json.dumps(document).encode() + b"\n"


def read_waiting(path: Path = WAITING) -> WaitingConfirmation | None:
    """What this boot waits for; None where nothing has to be confirmed. Raises Damaged."""
    data = read_if_there(path)
    if data is None:
        return None
    fields = parse_json_fields(data, file=str(path))
    fields.require_format(FORMAT)
    return WaitingConfirmation(
        deployment=fields.integer("deployment"),
        title=fields.string("title"),
        back=fields.string("back"),
        until=float(fields.integer("until")),
    )


def plan_forget(sysroot: Sysroot, chosen: int) -> tuple[ClearFlag, ...]:
    """What forgets a request when a person chooses the deployment ``chosen`` to boot next.

    A request that expired stays, because the login tells of it, unless it is for ``chosen``.
    """
    try:
        found = read_confirmation(sysroot)
    except (Damaged, OSError):
        return clear_confirmation(sysroot)
    if found is None or (found.expired and found.deployment != chosen):
        return ()
    waiting = (ClearFlag(path=WAITING),) if sysroot.is_running and WAITING.exists() else ()
    return (*clear_confirmation(sysroot), *waiting)


def parse_duration(text: str) -> int:
    """The seconds of a time such as ``90s``, ``10m``, ``1h`` or ``1h30m``. Raises UsageError."""
    found = _TIME.fullmatch(text)
    if found is None or not any(found.groups()):
        raise UsageError(f"{text!r} is not a time", hint="such as: 90s, 10m, 1h30m")
    hours, minutes, seconds = (int(count or 0) for count in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def format_duration(seconds: int) -> str:
    """A time as a person writes it, such as ``10 min`` or ``1 min 30 s``."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"
