"""How libraries tell a person what happens: they are handed a ``Reporter`` and never print."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Reporter(Protocol):
    """``step`` frames one piece of work and is timed; ``progress`` moves inside it."""

    def step(self, title: str) -> AbstractContextManager[object]: ...

    def progress(self, done: int, total: int | None, *, unit: str) -> None:
        """``unit`` is ``"B"`` for bytes or a plural noun; ``total`` is None when unknown."""

    def notice(self, text: str) -> None: ...


class NullReporter:
    """Says nothing."""

    def step(self, title: str) -> AbstractContextManager[object]:  # noqa: ARG002
        return nullcontext()

    def progress(self, done: int, total: int | None, *, unit: str) -> None:
        pass

    def notice(self, text: str) -> None:
        pass
