"""Fixtures for the tests of host."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from atoll.host.signals import interrupt_on_signals

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Install the program's signal handlers in this process."""
    before = [signal.getsignal(number) for number in SIGNALS]
    interrupt_on_signals()
    yield
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)
