"""Report progress of a running program by polling from a second thread."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from atoll.base.report import Reporter

SECONDS = 0.5


@contextmanager
def polled(look: Callable[[], None], *, every: float = SECONDS) -> Iterator[None]:
    """Call ``look`` every ``every`` seconds until the block ends, and never after it."""
    ended = threading.Event()

    def poll() -> None:
        while not ended.wait(every):
            look()

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def elapsed_reported(reporter: Reporter, *, every: float = SECONDS) -> Iterator[None]:
    """Report the elapsed seconds, for a program without progress output of its own."""
    begun = time.monotonic()
    reporter.progress(0, None, unit="s")
    with polled(
        lambda: reporter.progress(int(time.monotonic() - begun), None, unit="s"), every=every
    ):
        yield
