"""The two ways a test of a machine ends badly, and what keeps their traces short."""

from __future__ import annotations

from typing import Protocol


class RequestFailed(AssertionError):
    """The machine works, but what the test asserts about it is not so."""


class MachineError(Exception):
    """The machine itself is of no more use, or did not do something in time."""


class MachineGone(MachineError):
    """The machine ended in the middle of a command."""


class ShellRestarted(MachineError):
    """The machine's shell ended in the middle of a command and came up again."""


class _CaughtError(Protocol):
    def errisinstance(self, exc: tuple[type[BaseException], ...]) -> bool: ...


def hide_frames(caught: _CaughtError | None) -> bool:
    """For ``__tracebackhide__``: these two errors show the test's own lines, a bug shows all."""
    return caught is None or caught.errisinstance((RequestFailed, MachineError))
