"""``--confirm TIME`` of the verbs that change a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.errors import UsageError
from atoll.machine.deployments.confirmation import (
    LEAST_SECONDS,
    MOST_SECONDS,
    format_duration,
    parse_duration,
)

if TYPE_CHECKING:
    import argparse

_NOTHING_TO_CONFIRM = ("check", "download_only", "undo")


def read_confirm_time(arguments: argparse.Namespace) -> int | None:
    """The seconds of ``--confirm``, None without it. Raises UsageError."""
    if getattr(arguments, "confirm", None) is None:
        return None
    if any(getattr(arguments, name, False) for name in _NOTHING_TO_CONFIRM):
        raise UsageError(
            "--confirm is for a version that the next reboot starts, or that goes live",
            hint="leave out the other option",
        )
    seconds = parse_duration(arguments.confirm)
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise UsageError(
            f"--confirm takes a time from {format_duration(LEAST_SECONDS)} to"
            f" {format_duration(MOST_SECONDS)}, such as 10m"
        )
    return seconds
