"""A real registry (Debian's docker-registry) for tests, on the loopback interface."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from vmtest.service import image_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}\n{done.stderr}"


@contextmanager
def registry(folder: Path, *, passwords: Path | None = None) -> Iterator[str]:
    """The address of a registry that keeps its images in ``folder``; skips without the programs."""
    if shutil.which("docker-registry") is None or shutil.which("skopeo") is None:
        pytest.skip("needs docker-registry and skopeo")
    with image_registry(folder, passwords=passwords) as address:
        yield address
