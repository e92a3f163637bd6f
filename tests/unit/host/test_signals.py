"""An interruption at the worst moment leaks no resource and is not lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import pytest

from atoll.host.fs import replace_file, temporary_directory
from atoll.host.run import run, running
from atoll.host.signals import interrupt_on_signals, signals_deferred

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

P = ParamSpec("P")
T = TypeVar("T")

pytestmark = pytest.mark.usefixtures("interruptible")


def then_interrupted(work: Callable[P, T]) -> Callable[P, T]:
    """Does the work; the signal arrives before the caller has the result."""

    def both(*args: P.args, **kwargs: P.kwargs) -> T:
        result = work(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGINT)
        return result

    return both


def test_a_directory_just_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "mkdir", then_interrupted(os.mkdir))
    with pytest.raises(KeyboardInterrupt), temporary_directory(tmp_path, prefix=".new-"):
        pytest.fail("the interruption is heard before the work starts")
    assert list(tmp_path.iterdir()) == []


def test_while_cleaning_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "unlink", then_interrupted(os.unlink))
    monkeypatch.setattr(shutil, "rmtree", then_interrupted(shutil.rmtree))
    with (
        pytest.raises(KeyboardInterrupt),
        temporary_directory(tmp_path, prefix=".new-") as directory,
    ):
        for name in "abc":
            (directory / name).touch()
    assert list(tmp_path.iterdir()) == []


def test_a_file_half_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", then_interrupted(os.fsync))
    with pytest.raises(KeyboardInterrupt):
        replace_file(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("door", ["run", "running"])
def test_a_program_just_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, door: str) -> None:
    started: list[int] = []

    class Started(subprocess.Popen[bytes]):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[call-overload]
            started.append(self.pid)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Started)
    argv = [sys.executable, "-c", "import signal; signal.pause()"]
    with pytest.raises(KeyboardInterrupt):
        if door == "run":
            run(argv)
        else:
            with (tmp_path / "log").open("wb") as log, running(argv, log=log):
                pytest.fail("the interruption is heard before the work starts")
    assert len(started) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


def test_heard_once_and_at_the_end_of_the_outermost() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt), signals_deferred():
        with signals_deferred():
            os.kill(os.getpid(), signal.SIGINT)
            steps.append("inner")
        steps.append("outer")
    assert steps == ["inner", "outer"]
    with signals_deferred():
        steps.append("nothing is left of it")


def test_a_thread_does_not_hold_it_up() -> None:
    inside, may_leave = threading.Event(), threading.Event()

    def hold() -> None:
        with signals_deferred():
            inside.set()
            may_leave.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait()
    try:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        may_leave.set()
        holder.join()


def test_a_second_request_to_end_is_not_heard() -> None:
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGHUP)


def test_who_pressed_ctrl_c_can_still_ask_for_the_end() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)


def test_what_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    interrupt_on_signals()
    os.kill(os.getpid(), signal.SIGHUP)
