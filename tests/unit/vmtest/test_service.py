"""Servers beside machines: up when the block begins, gone when it ends, heard when they fail."""

from __future__ import annotations

import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest

from vmtest import MachineError, service
from vmtest.service import free_port, serving


def ask(port: int) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    finally:
        connection.close()


def test_it_answers_in_the_block_and_only_there(tmp_path: Path) -> None:
    port = free_port()
    argv = [sys.executable, "-m", "http.server", str(port), "--bind=127.0.0.1"]
    with serving(argv, port=port, log=tmp_path / "log"):
        assert ask(port) == 200
    with pytest.raises(ConnectionRefusedError):
        ask(port)


def test_one_that_ends_is_told_at_once_with_its_words(tmp_path: Path) -> None:
    argv = ["sh", "-c", "echo no such configuration >&2; exit 3"]
    with (
        pytest.raises(MachineError, match=r"sh ended.*\n.*no such configuration"),
        serving(argv, port=free_port(), log=tmp_path / "log"),
    ):
        pytest.fail("it does not answer")


def test_one_that_does_not_answer_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "ANSWER_SECONDS", 0.1)
    pid = tmp_path / "pid"
    argv = ["sh", "-c", f"echo $$ > {pid}; exec sleep 600"]
    with (
        pytest.raises(MachineError, match=r"sh did not answer in 0\.1 s"),
        serving(argv, port=free_port(), log=tmp_path / "log"),
    ):
        pytest.fail("it does not answer")
    assert not pid.exists() or not Path(f"/proc/{pid.read_text().strip()}").exists()
