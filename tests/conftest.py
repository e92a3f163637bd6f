"""Which tests can run here: what is not possible is skipped, and says why."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

pytest_plugins = ["vmtest.plugin"]

MIRROR = os.environ.get("ATOLL_TEST_MIRROR", "http://deb.debian.org/debian")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the tests that take long, too")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark, obstacle in OBSTACLES.items():
        if item.get_closest_marker(mark):
            reason = obstacle(item.config)
            if reason:
                pytest.skip(reason)


def not_root(_config: pytest.Config) -> str | None:
    return None if os.geteuid() == 0 else "needs root"


def no_network(_config: pytest.Config) -> str | None:
    return None if mirror_answers() else f"no answer from {MIRROR}"


def no_machine(_config: pytest.Config) -> str | None:
    return None if shutil.which("qemu-system-x86_64") else "needs qemu-system-x86"


def not_long(config: pytest.Config) -> str | None:
    return None if config.getoption("--long") else "takes long: runs with --long"


OBSTACLES = {"long": not_long, "root": not_root, "vm": no_machine, "network": no_network}


@functools.cache
def mirror_answers() -> bool:
    """Asked as apt asks, with its proxies and certificates."""
    helper = Path("/usr/lib/apt/apt-helper")
    if not helper.exists():
        return False
    with tempfile.TemporaryDirectory() as folder:
        url = f"{MIRROR}/dists/trixie/Release"
        words = [str(helper), "-o", "Acquire::Retries=1", "download-file", url, f"{folder}/Release"]
        done = subprocess.run(words, capture_output=True, check=False)
    return done.returncode == 0
