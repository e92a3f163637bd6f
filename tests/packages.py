"""Atoll's own Debian packages, built once for all tests of a checkout."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.cache import alone

CHECKOUT = Path(__file__).parents[1]
MAKE = CHECKOUT / "debian" / "make"
NAMES = ("atoll.deb", "atoll-system.deb")


def make_packages() -> Path:
    """The folder that has them; it is built again when one of their files has changed."""
    folder = CHECKOUT / "build"
    with alone("packages"):
        subprocess.run([MAKE, folder], cwd=CHECKOUT, check=True)
    return folder


def copy_packages(folder: Path, *, with_inputs: bool = False) -> Path:
    """Copies in ``folder``; ``with_inputs`` also what says which files they are built from."""
    made = make_packages()
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*NAMES, "atoll.deb.inputs") if with_inputs else NAMES:
        shutil.copy2(made / name, folder / name)
    return folder
