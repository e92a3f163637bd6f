"""The last question before a disk is written to: its name, typed, or named before."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from atoll.base.errors import Refused, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def confirm_disk(disk: Path, yes_erase: str | None) -> None:
    """Return when a person types the name of ``disk``, or gave it in ``--yes-erase``.

    What is lost was printed before. The question goes to stderr, because stdout may be JSON.
    Raises UsageError for the name of another disk, or Refused.
    """
    names = (disk.name, str(disk))
    if yes_erase is not None:
        if yes_erase not in names:
            raise UsageError(
                f"--yes-erase names {yes_erase}, and the disk is {disk.name}",
                hint="look at what is lost, above, then name the disk",
            )
        return
    if not sys.stdin.isatty():
        raise Refused(
            "nothing is written to a disk without a confirmation, and there is no terminal",
            hint=f"look at what is lost, above, then add: --yes-erase {disk.name}",
        )
    question = f"Type {disk.name} to go on, anything else to stop: "
    print(question, end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() not in names:
        raise Refused("not confirmed: nothing was changed", hint="start again when you are sure")
