"""Every shell script that goes onto a machine, read by shellcheck."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEM = Path(__file__).parents[2] / "system"


def scripts() -> list[Path]:
    found = []
    for path in sorted(SYSTEM.rglob("*")):
        if path.is_file() and not path.is_symlink():
            first = path.read_bytes().partition(b"\n")[0]
            if first.startswith(b"#!") and first.endswith((b"/sh", b"/bash")):
                found.append(path)
    return found


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
@pytest.mark.parametrize("path", scripts(), ids=lambda path: path.name)
def test_a_script_has_nothing_to_complain_about(path: Path) -> None:
    done = subprocess.run(["shellcheck", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
