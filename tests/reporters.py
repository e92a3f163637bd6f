"""A reporter that keeps what it is told."""

from __future__ import annotations

import threading

from atoll.base.report import NullReporter


class RecordingReporter(NullReporter):
    def __init__(self) -> None:
        self.progressed: list[tuple[int, int | None, str]] = []
        self.told = threading.Event()

    def progress(  # type: ignore[explicit-override]
        self, done: int, total: int | None, *, unit: str
    ) -> None:
        self.progressed.append((done, total, unit))
        self.told.set()
