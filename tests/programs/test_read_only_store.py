"""A store on a read-only mount, as a machine has it at /sysroot/atoll."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from atoll.store.layout import open_store
from atoll.store.objects import adding_objects
from tests.programs.test_build import SOURCE

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.store.layout import Store

pytestmark = pytest.mark.root


def check_read_only(store: Store) -> subprocess.CompletedProcess[str]:
    """``atoll store check`` on the store mounted read-only, in its own mount namespace."""
    script = f"mount --bind {store.root} {store.root} && mount -o remount,bind,ro {store.root}"
    words = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-euc",
        f'{script}; exec "$@"',
        "sh",
        sys.executable,
        "-m",
        "atoll",
        "store",
        "check",
        "--store",
        str(store.root),
    ]
    return subprocess.run(
        words, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(SOURCE)}
    )


def test_a_store_on_a_read_only_mount_is_checked(tmp_path: Path) -> None:
    """It ended with "Read-only file system", on the very machine that hints at it."""
    store = open_store(tmp_path / "store", create=True)
    with adding_objects(store) as sink:
        name = sink.put_bytes(b"0" * 5000)
    done = check_read_only(store)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    store.object_path(name).unlink()
    store.object_path(name).write_bytes(b"1" * 5000)
    done = check_read_only(store)
    assert done.returncode == 8
    assert done.stdout.startswith(f"damaged object: object {name}")


def test_a_store_without_its_lock_file_is_checked_there(tmp_path: Path) -> None:
    """A machine just installed has none, and ``drift --verify`` ended with status 3."""
    store = open_store(tmp_path / "store", create=True)
    with adding_objects(store) as sink:
        sink.put_bytes(b"0" * 5000)
    store.lock.unlink()
    done = check_read_only(store)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
