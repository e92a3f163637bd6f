"""What tests keep from run to run: ``$ATOLL_TEST_CACHE``, or ``~/.cache/atoll-tests``."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CACHE = Path(os.environ.get("ATOLL_TEST_CACHE") or Path.home() / ".cache/atoll-tests")


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Wait until no test that runs beside this one is at work on what is called ``name``."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
