from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import AtollError, Damaged
from atoll.base.ids import ObjectId
from atoll.store.layout import Store, open_store
from atoll.store.objects import (
    WHOLE_LIMIT,
    DigestSink,
    adding_objects,
    has_object,
    measure_object,
    read_object,
)
from atoll.tree.verity import verity_digest

if TYPE_CHECKING:
    from pathlib import Path

SIZES = (1, 65, 4096, 4097, WHOLE_LIMIT, WHOLE_LIMIT + 1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store", create=True)


def content(size: int) -> bytes:
    return (b"0123456789abcdef" * (size // 16 + 1))[:size]


@pytest.mark.parametrize("size", SIZES)
def test_all_ways_in_give_the_same_name(store: Store, tmp_path: Path, size: int) -> None:
    data = content(size)
    path = tmp_path / "file"
    path.write_bytes(data)
    expected = verity_digest(data)
    for number, sink in enumerate(("bytes", "file", "chunks")):
        store = open_store(tmp_path / str(number), create=True)
        with adding_objects(store) as writer, path.open("rb") as file:
            match sink:
                case "bytes":
                    name = writer.put_bytes(data)
                case "file":
                    name = writer.put_file(file.fileno())
                case _:
                    name = writer.put_chunks(data[at : at + 1000] for at in range(0, size, 1000))
        assert name == expected
        assert read_object(store, name) == data
    assert DigestSink().put_bytes(data) == expected
    assert DigestSink().put_chunks([data]) == expected


def test_an_object_is_read_only_and_kept_once(store: Store) -> None:
    with adding_objects(store) as writer:
        name = writer.put_bytes(b"x" * 100)
        assert writer.put_bytes(b"x" * 100) == name
        assert writer.put_chunks([b"x" * 50, b"x" * 50]) == name
        assert not has_object(store, name), "it gets its name when it is durable"
    path = store.object_path(name)
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    before = path.stat().st_ino
    with adding_objects(store) as writer:
        writer.put_bytes(b"x" * 100)
        writer.put_chunks([b"x" * 100])
    assert path.stat().st_ino == before
    assert not any(store.staging.iterdir())


def test_nothing_stays_after_an_error(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), adding_objects(store) as writer:
        name = writer.put_bytes(b"x" * 100)
        raise ZeroDivisionError
    assert not has_object(store, name)
    assert not any(store.staging.iterdir())


def test_damage_is_noticed_on_reading(store: Store) -> None:
    with adding_objects(store) as writer:
        name = writer.put_bytes(b"x" * 100)
    path = store.object_path(name)
    path.chmod(0o644)
    path.write_bytes(b"x" * 99 + b"y")
    for read in (read_object, measure_object):
        with pytest.raises(Damaged, match=name) as caught:
            read(store, name)
        assert caught.value.hint
    assert read_object(store, name, verify=False).endswith(b"y")


def test_a_missing_object_is_damage(store: Store) -> None:
    with pytest.raises(Damaged, match="No such file"):
        read_object(store, ObjectId("0" * 64))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.EOPNOTSUPP, errno.ENOMEM])
def test_what_cannot_be_read_is_not_called_damaged(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Without fs-verity in the kernel ``store check`` once advised to remove each object."""
    with adding_objects(store) as sink:
        name = sink.put_bytes(content(5000))

    def refuse(*_: object) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("atoll.store.objects.os.pread", refuse)
    for read in (read_object, measure_object):
        with pytest.raises((AtollError, OSError)) as caught:
            read(store, name)
        assert not isinstance(caught.value, Damaged)
        assert name[2:] in str(caught.value)
