"""Calls of early boot's own functions, many of them in one process of a shell."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from tests.programs.early_boot import SHELLS, read_early_boot

if TYPE_CHECKING:
    from collections.abc import Iterable

both_shells = pytest.mark.parametrize(
    "shell",
    [
        pytest.param(name, marks=pytest.mark.skipif(not shutil.which(words[0]), reason="needs it"))
        for name, words in SHELLS.items()
    ],
)


def run_functions(shell: str, calls: Iterable[str], *, before: str = "") -> list[str]:
    """What each call prints: exactly one line. ``before`` replaces functions of early boot."""
    functions, last = read_early_boot().rstrip("\n").rsplit("\n", 1)
    assert last == "main"
    functions = functions.replace("/proc/cmdline", '"$cmdline"')
    lines = list(calls)
    with TemporaryDirectory() as folder:
        script = Path(folder) / "script"
        script.write_text("\n".join([functions, before, *lines, ""]), errors="surrogateescape")
        done = subprocess.run(
            [*SHELLS[shell], script],
            env={"PATH": "/usr/bin:/bin"},
            text=True,
            check=False,
            capture_output=True,
            errors="surrogateescape",
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    answers = done.stdout.split("\n")
    assert answers.pop() == ""
    assert len(answers) == len(lines), done.stderr
    return answers


def write_cases(folder: Path, cases: Iterable[bytes]) -> list[Path]:
    """A file for each case."""
    folder.mkdir(exist_ok=True)
    paths = []
    for number, content in enumerate(cases):
        paths.append(folder / str(number))
        paths[-1].write_bytes(content)
    return paths
