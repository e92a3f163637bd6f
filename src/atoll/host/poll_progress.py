"""Say how far a program is while it runs: something looks at it from a thread beside."""

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
def watched(look: Callable[[], None], *, every: float = SECONDS) -> Iterator[None]:
    """Call ``look`` every so many seconds until the block ends, and not afterwards."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(every):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def told_seconds(reporter: Reporter, *, every: float = SECONDS) -> Iterator[None]:
    """Tell how long it takes already, of a program that does not say how far it is."""
    begun = time.monotonic()
    reporter.progress(0, None, unit="s")
    with watched(
        lambda: reporter.progress(int(time.monotonic() - begun), None, unit="s"), every=every
    ):
        yield
