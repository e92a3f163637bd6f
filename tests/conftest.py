"""Which tests can run here: what is not possible is skipped, and says why."""

from __future__ import annotations

import functools
import gc
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

# How long an example takes says nothing on a machine that others use. The quick ones are the same
# each time, so that only a change makes them fail; --long looks where nobody looked.
hypothesis.settings.register_profile(
    "base", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
_base = hypothesis.settings.get_profile("base")
hypothesis.settings.register_profile("quick", _base, max_examples=30, derandomize=True)
hypothesis.settings.register_profile("long", _base, max_examples=400)

pytest_plugins = ["vmtest.plugin"]
SMALL = (Path(__file__).parent / "unit", Path(__file__).parent / "faults")
"""Where tests write no more than some 100 MB at a time."""
MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 1 << 30

# A test run in the background may have been told to ignore these; what tests start must not.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the tests that take long, too")


def pytest_configure(config: pytest.Config) -> None:
    hypothesis.settings.load_profile("long" if config.getoption("--long") else "quick")
    if has_only_small_tests(config) and has_memory_for_files():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Importing makes millions of objects that stay: the garbage collector, which would visit them
    again and again, waits until all are there, and leaves them alone afterwards."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def has_only_small_tests(config: pytest.Config) -> bool:
    here = config.invocation_params.dir
    paths = [here / arg.split("::")[0] for arg in config.args]
    return all(any(path.is_relative_to(folder) for folder in SMALL) for path in paths)


def has_memory_for_files() -> bool:
    """They flush thousands of small files: on a disk that is most of what they wait for. What they
    cut is a process, never the power: no file system is judged."""
    try:
        return shutil.disk_usage(MEMORY).free >= ENOUGH_BYTES and os.access(MEMORY, os.W_OK)
    except OSError:
        return False


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark, obstacle in OBSTACLES.items():
        if item.get_closest_marker(mark):
            reason = obstacle(item.config)
            if reason:
                pytest.skip(reason)


def not_root(_config: pytest.Config) -> str | None:
    return None if os.geteuid() == 0 else "needs root"


def no_network(_config: pytest.Config) -> str | None:
    return None if mirror_answers() else "no package mirror of apt's configuration answers"


def no_machine(_config: pytest.Config) -> str | None:
    return None if shutil.which("qemu-system-x86_64") else "needs qemu-system-x86"


def not_long(config: pytest.Config) -> str | None:
    return None if config.getoption("--long") else "takes long: runs with --long"


OBSTACLES = {"long": not_long, "root": not_root, "vm": no_machine, "network": no_network}


def configured_mirrors() -> list[str]:
    """Where apt here gets Debian from, its plain archive before the others."""
    words = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(SITE)"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    rows = [line.split() for line in done.stdout.splitlines()]
    found = {row[1] for row in rows if len(row) == 2 and row[0] == "Debian"}
    return sorted(found, key=lambda site: ("security" in site, site))


@functools.cache
def mirror_answers() -> bool:
    """Asked as apt asks, with its mirrors, proxies and certificates."""
    helper = Path("/usr/lib/apt/apt-helper")
    mirror = os.environ.get("ATOLL_TEST_MIRROR") or next(iter(configured_mirrors()), None)
    if not helper.exists() or mirror is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        url = f"{mirror}/dists/trixie/Release"
        words = [str(helper), "-o", "Acquire::Retries=1", "download-file", url, f"{folder}/Release"]
        done = subprocess.run(words, capture_output=True, check=False)
    return done.returncode == 0
