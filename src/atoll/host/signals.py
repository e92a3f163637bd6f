"""When an interruption may come: not while something is made that is to be taken away again.

Python raises KeyboardInterrupt between any two of its steps, so also after a directory was made and
before anybody remembers it. Code that makes such a thing does it in ``signals_deferred``: a signal
that ends this program is then handled a moment later, when it is known what to clean up.
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
    """Let a request to end, or a closed terminal, do what Ctrl-C does: clean up, then go.

    A signal that this process was told to ignore stays ignored.
    """
    for number in (signal.SIGINT, *_ENDINGS):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _interrupt)


@contextmanager
def signals_deferred() -> Iterator[None]:
    """An interruption that comes meanwhile is raised at the end, as KeyboardInterrupt.

    To be used for short work, as nothing but SIGKILL ends it. Only the main thread is interrupted
    by signals, so in others this does nothing.
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
    # A closing terminal often sends more than one; the first is enough, and the cleaning up that it
    # starts should not be interrupted by the next.
    if number in _ENDINGS:
        for each in _ENDINGS:
            signal.signal(each, signal.SIG_IGN)
    if _State.depth:
        _State.waiting = True
    else:
        raise KeyboardInterrupt
