"""Progress reports. Libraries receive a ``Reporter`` and never print."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Reporter(Protocol):
    """``step`` is a context manager around one timed piece of work; ``progress`` updates it."""

    def step(self, title: str) -> AbstractContextManager[object]: ...

    def progress(self, done: int, total: int | None, *, unit: str) -> None:
        """``unit`` is ``"B"`` for bytes or a plural noun; ``total`` is None when unknown."""

    def notice(self, text: str) -> None: ...


class NullReporter:
    """Discards all reports."""

    def step(self, title: str) -> AbstractContextManager[object]:  # noqa: ARG002
        return nullcontext()

    def progress(self, done: int, total: int | None, *, unit: str) -> None:
        pass

    def notice(self, text: str) -> None:
        pass
