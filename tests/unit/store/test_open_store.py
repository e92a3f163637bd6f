from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from atoll.base.errors import Busy, Damaged, NotFound
from atoll.store.layout import default_store_root, open_store
from atoll.store.lock import adding, removing


def test_a_store_is_made_only_when_asked(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no store"):
        open_store(tmp_path / "store")
    made = open_store(tmp_path / "deep" / "store", create=True)
    assert open_store(made.root) == made


def test_another_format_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path, create=True)
    (store.root / "store-format").write_bytes(b"2\n")
    with pytest.raises(Damaged, match="store format"):
        open_store(tmp_path)
    with pytest.raises(Damaged):
        open_store(tmp_path, create=True)


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    with pytest.raises(NotFound, match="not a directory"):
        open_store(tmp_path / "store", create=True)


def test_the_default_is_in_the_users_data_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_store_root() == Path("/data/atoll")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_store_root() == Path("/home/me/.local/share/atoll")


def test_additions_share_and_removals_do_not(tmp_path: Path) -> None:
    store = open_store(tmp_path, create=True)
    with adding(store), adding(store), pytest.raises(Busy), removing(store):
        pass
    with removing(store), pytest.raises(Busy), adding(store, patience=0):
        pass


def test_leftovers_go_only_when_nobody_is_at_work(tmp_path: Path) -> None:
    store = open_store(tmp_path, create=True)
    leftover = store.staging / "left"
    leftover.mkdir()
    (leftover / "0").write_text("half")
    other = os.open(store.lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(other, fcntl.LOCK_SH)
    with adding(store):
        assert leftover.exists()
    os.close(other)
    with adding(store):
        assert not leftover.exists()
