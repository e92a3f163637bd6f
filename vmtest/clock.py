"""How long to wait: every limit is stretched by VMTEST_TIMEOUT_FACTOR, for slow or busy hosts."""

from __future__ import annotations

import os
import time

from vmtest.errors import MachineError

FACTOR = "VMTEST_TIMEOUT_FACTOR"


def stretched(seconds: float) -> float:
    """A limit as this host needs it."""
    text = os.environ.get(FACTOR, "1")
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if factor <= 0:
        raise MachineError(f"{FACTOR}={text} is not a number above 0")
    return seconds * factor


class Deadline:
    """A moment after which nobody waits any more."""

    def __init__(self, seconds: float) -> None:
        self.seconds = stretched(seconds)
        self._end = time.monotonic() + self.seconds

    def left(self) -> float:
        """Seconds that remain; 0 when over."""
        return max(0.0, self._end - time.monotonic())

    def is_over(self) -> bool:
        return self.left() == 0.0
