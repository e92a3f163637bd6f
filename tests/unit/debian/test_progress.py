"""Progress of dpkg, from its log."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from atoll.debian.progress import DpkgProgress
from atoll.host.poll_progress import elapsed_reported, polled
from tests.reporters import RecordingReporter

if TYPE_CHECKING:
    from pathlib import Path


def test_packages_are_counted_as_they_are_unpacked_and_set_up(tmp_path: Path) -> None:
    log, reporter = tmp_path / "log", RecordingReporter()
    progress = DpkgProgress(log, 2, reporter)
    progress.update()
    assert reporter.progressed == []
    log.write_bytes(b"Get:1 file:/x\nUnpacking libc6:amd64 (2.41) ...\nUnpack")
    progress.update()
    with log.open("ab") as file:
        file.write(b"ing bash (5.2) ...\nSetting up libc6:amd64 (2.41) ...\n")
    progress.update()
    progress.update()
    with log.open("ab") as file:
        file.write(
            b"Setting up bash (5.2) ...\nSetting up \x1b[31m (1) ...\nSetting up x (1) ...\n"
        )
    progress.update()
    assert reporter.progressed == [
        (0, 2, "packages, libc6:amd64"),
        (1, 2, "packages, libc6:amd64"),
        (2, 2, "packages, x"),
    ]


def test_a_look_is_taken_until_the_end_and_not_afterwards() -> None:
    looked = threading.Event()
    before = threading.active_count()
    with polled(looked.set, every=0.001):
        assert looked.wait(60)
    assert threading.active_count() == before


def test_a_program_that_says_nothing_has_its_seconds_told() -> None:
    reporter = RecordingReporter()
    with elapsed_reported(reporter, every=0.001):
        assert reporter.told.wait(60)
    assert {(total, unit) for _, total, unit in reporter.progressed} == {(None, "s")}
