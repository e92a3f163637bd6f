"""Interrupted programs end together with their children."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from atoll.base.errors import NoSpace
from atoll.host import run as module
from atoll.host.run import run


@pytest.mark.usefixtures("interruptible")
def test_what_an_interrupted_program_started_ends_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it could write where the caller cleans up."""
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.3)
    written = tmp_path / "written"
    writes = f"while :; do echo more >> {written}; sleep 0.01; done"
    # The background job ignores SIGTERM before it interrupts this process.
    ignoring = f"trap '' TERM; kill -INT {os.getpid()}; {writes}"
    with pytest.raises(KeyboardInterrupt):
        run(["sh", "-c", f"({ignoring}) & trap '' TERM; {writes}"])
    assert processes_about(written) == []


def test_what_watches_a_program_ends_it_and_loses_none_of_its_input_and_output() -> None:
    calls = []
    text = b"0123456789abcdef" * 20000
    said = run(["sh", "-c", "sleep 0.5; cat"], stdin=text, watch=lambda: calls.append(1))
    assert said == text and calls

    def refuse() -> None:
        raise NoSpace("full")

    with pytest.raises(NoSpace):
        run(["sleep", "1000"], watch=refuse)


def processes_about(path: Path) -> list[str]:
    """Every running process with ``path`` in its arguments."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if os.fsencode(path) in (arguments := process.read_bytes()):
                found.append(arguments.decode(errors="replace"))
    return found
