"""The same lock gives the same tree on a machine of another Debian.

The machine is a root of that suite, entered by chroot; it has the kernel of this one, and its own
Python, apt, dpkg and mount.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.programs.test_build import SOURCE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.programs.test_build import System

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.long]

PROGRAMS = "python3,python3-httpx,python3-zstandard,mount"
ENTER = """
cd "$1"; shift
mount --bind . .
cd "$PWD"
mount --rbind /dev dev
mount -t proc proc proc
mount --rbind /sys sys
exec chroot . env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYTHONPATH=/code "$@"
"""


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_another_debian_gives_the_same_tree(system: System, tmp_path: Path, suite: str) -> None:
    if shutil.which("mmdebstrap") is None:
        pytest.skip("needs mmdebstrap, to make the other machine")
    machine = tmp_path / suite
    words = ["mmdebstrap", "--mode=root", "--variant=apt", f"--include={PROGRAMS}", suite,
             str(machine)]  # fmt: skip
    made = subprocess.run(words, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"{suite} cannot be had here: {made.stderr.splitlines()[-1]}")
    shutil.copytree(SOURCE, machine / "code")
    (machine / "recipe").mkdir()
    for name in ("atoll.toml", "atoll.lock", "atoll.deb", "trap.deb"):
        shutil.copy(system.folder / name, machine / "recipe")
    shutil.copytree(system.store / "cache/debs", machine / "store/cache/debs")

    around = ["unshare", "--mount", "--propagation", "private", "sh", "-euc", ENTER, "enter",
              str(machine)]  # fmt: skip
    atoll = ["python3", "-m", "atoll.cli.main", "build", "/recipe", "--store", "/store",
             "--locked", "--offline", "--json"]  # fmt: skip
    done = subprocess.run([*around, *atoll], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tree"] == system.tree
