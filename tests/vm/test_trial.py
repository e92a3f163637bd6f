"""``atoll test`` and ``atoll vm`` on a real image: what a maker sees of a good and of a bad one."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.vm.conftest import CHECKOUT, STORE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.vm.conftest import Built

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.vm]

GOOD = """#!/bin/bash
set -eu
[[ $ATOLL_TRIAL == 1 ]]
test -e /run/atoll/booted
cat beside.txt
"""


def test_a_good_script_and_a_bad_one(hello: Built, tmp_path: Path) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "1-good.sh").write_text(GOOD)
    (tests / "2-bad.sh").write_text("echo this is wrong >&2\nexit 4\n")
    (tests / "3-skipped.sh").write_text("exit 77\n")
    (tests / "beside.txt").write_text("found it\n")
    scripts = [word for path in sorted(tests.glob("*.sh")) for word in ("--script", str(path))]
    words = ["test", hello.tree, "--store", str(STORE), "--json", *scripts]
    done = subprocess.run(
        [sys.executable, "-m", "atoll", *words],
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": "src"},
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["passed"], answer["ending"]) == (14, False, "finished")
    assert (answer["state"], answer["healthy"], answer["failed_units"]) == ("running", True, [])
    results = [(each["name"], each["status"], each["output"]) for each in answer["scripts"]]
    assert results == [
        ("1-good.sh", 0, "found it\n"),
        ("2-bad.sh", 4, "this is wrong\n"),
        ("3-skipped.sh", 77, ""),
    ]


def test_the_console_is_the_terminal_and_nothing_is_left(hello: Built, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "atoll", "vm", hello.tree, "--store", str(STORE)],
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": "src", "TMPDIR": str(tmp_path)},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        read_until(ours, b"Linux version")
        assert list(tmp_path.glob("atoll-disk-*"))
        os.write(ours, b"\x01x")
        assert process.wait(60) == 0
    os.close(ours)
    assert list(tmp_path.iterdir()) == []


def read_until(handle: int, words: bytes, seconds: float = 600) -> None:
    said, deadline = b"", time.monotonic() + seconds
    while words not in said:
        assert time.monotonic() < deadline, said[-2000:]
        said += os.read(handle, 4096)
