"""Waiting for as long as a machine gets on: what is slow is given time, what stands is given up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from vmtest.clock import Deadline, stretched
from vmtest.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vmtest.channel import Finished
    from vmtest.console import Console

AT_MOST_SECONDS = 7200.0
TELL_SECONDS = 30.0
WAITS = "waits for "
"""How a line begins that is told every half minute of waiting."""
TAIL_LENGTH = 100
TIMED_OUT = 124
SETTLED = "timeout 20 systemctl is-system-running --wait"


class Patience(Deadline):
    """A deadline that moves: it comes ``seconds`` after the last sign of life.

    A sign of life is any change of what ``sign`` returns. ``tell`` is called every half minute with
    how many seconds it has been. However lively, nothing may take longer than two hours.
    """

    def __init__(
        self,
        seconds: float,
        sign: Callable[[], object],
        tell: Callable[[int], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(seconds)
        self._sign, self._tell, self._clock = sign, tell, clock
        self._seen = sign()
        self._begin = self._told = clock()
        self._end = self._begin + self.seconds
        self._last = self._begin + stretched(AT_MOST_SECONDS)

    def left(self) -> float:  # type: ignore[explicit-override]
        now = self._clock()
        seen = self._sign()
        if seen != self._seen:
            self._seen = seen
            self._end = now + self.seconds
        if now - self._told >= TELL_SECONDS:
            self._told = now
            self._tell(round(now - self._begin))
        return max(0.0, min(self._end, self._last) - now)


def patience_for(
    what: str,
    seconds: float,
    console: Console,
    control: Callable[[str], object],
    say: Callable[[str], None],
) -> Patience:
    """Waiting for ``what`` of a machine: words on its ``console`` are signs of life, and so are
    accesses to its disks, which ``control`` asks QEMU for."""

    def sign() -> object:
        said = console.path.stat().st_size if console.path.exists() else 0
        try:
            return said, control("query-blockstats")
        except MachineError:
            return said, None

    def tell(elapsed: int) -> None:
        last = console.tail(1)[-TAIL_LENGTH:]
        say(f"{WAITS}{what}, {elapsed} s so far; on its console: {last}")

    return Patience(seconds, sign, tell)


def settle(ask: Callable[[], Finished], patience: Patience) -> str | None:
    """What ``ask`` says at last of the system's state; None when the patience is over."""
    while True:
        finished = ask()
        if finished.status != TIMED_OUT:
            return finished.output.decode().strip()
        if patience.is_over():
            return None
