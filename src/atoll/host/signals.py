"""Defer interruptions while a resource is acquired that must be released.

Python can raise KeyboardInterrupt between any two bytecodes: also after a directory was created and
before its name was stored for the cleanup. Code that acquires such a resource runs in
``signals_deferred``; a signal is then handled at the end of the block, when the cleanup is set up.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENDINGS = (signal.SIGTERM, signal.SIGHUP)


class _State:
    depth = 0
    waiting = False


def interrupt_on_signals() -> None:
    """Make SIGTERM and SIGHUP raise KeyboardInterrupt like Ctrl-C, so that cleanup runs.

    A signal that this process inherited as ignored (nohup) stays ignored.
    """
    for number in (signal.SIGINT, *_ENDINGS):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _interrupt)


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Defer an interruption to the end of the block, where it raises KeyboardInterrupt.

    Keep the block short: until it ends, only SIGKILL stops the process. Python handles signals in
    the main thread, so in other threads this does nothing.
    """
    import threading

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _State.depth += 1
    try:
        yield
    finally:
        _State.depth -= 1
        if _State.waiting and not _State.depth:
            _State.waiting = False
            raise KeyboardInterrupt


def _interrupt(number: int, _frame: object) -> None:
    # A closing terminal often sends more than one signal. The second must not interrupt the cleanup
    # that the first one started.
    if number in _ENDINGS:
        for each in _ENDINGS:
            signal.signal(each, signal.SIG_IGN)
    if _State.depth:
        _State.waiting = True
    else:
        raise KeyboardInterrupt
