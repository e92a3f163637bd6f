"""Layer records: read as written; one that is damaged or lacks an object counts as missing."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import Damaged
from atoll.base.ids import BlobDigest
from atoll.store.layers import (
    LayerEntry,
    find_layer,
    keep_layers,
    prune_layers,
    read_layer,
    writing_layer,
)
from atoll.store.layout import open_store
from atoll.store.objects import adding_objects
from atoll.tree.model import Metadata

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from atoll.store.layout import Store

LAYER = BlobDigest("sha256:" + "a1" * 32)
OTHER = BlobDigest("sha256:" + "b2" * 32)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(tmp_path_factory.mktemp("store"), create=True)


def keep(store: Store, entries: list[LayerEntry], layer: BlobDigest = LAYER) -> Path:
    path = store.staging / "record"
    with writing_layer(path) as record:
        for entry in entries:
            record.add(entry)
        record.finish(size=512)
    keep_layers(store, {layer: path})
    return store.root / "layers" / layer.removeprefix("sha256:")


ENTRIES = st.builds(
    LayerEntry,
    path=st.binary(min_size=1, max_size=20),
    kind=st.sampled_from([b"0", b"1", b"2", b"3", b"5"]),
    metadata=st.builds(
        Metadata,
        mode=st.integers(0, 0o7777),
        uid=st.integers(0, 1 << 31),
        mtime=st.integers(-(1 << 40), 1 << 40),
        xattrs=st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9))).map(tuple),
    ),
    size=st.integers(0, 1 << 50),
    inline=st.binary(min_size=1, max_size=64) | st.none(),
    target=st.binary(max_size=20),
    device=st.integers(0, 1 << 31),
)


@given(entries=st.lists(ENTRIES, max_size=9))
def test_what_was_written_is_read(store: Store, entries: list[LayerEntry]) -> None:
    keep(store, entries)
    assert find_layer(store, LAYER) == 512
    assert list(read_layer(store, LAYER)) == entries


def test_a_lost_object_makes_the_record_worthless(store: Store) -> None:
    with adding_objects(store) as sink:
        name = sink.put_bytes(b"content" * 99)
    entry = LayerEntry(path=b"x", kind=b"0", metadata=Metadata(mode=0o644), size=693, object=name)
    path, kept = keep(store, [entry]), keep(store, [], OTHER)
    assert find_layer(store, LAYER) == 512
    store.object_path(name).unlink()
    assert find_layer(store, LAYER) is None
    with pytest.raises(Damaged, match=f"object {name} is missing"):
        list(read_layer(store, LAYER))
    assert prune_layers(store) == 1
    assert not path.exists()
    assert kept.exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-5],
        lambda data: data[:9],
        lambda _: b"",
        lambda _: b"no gzip",
        lambda _: gzip.compress(b""),
        lambda _: gzip.compress(b'{"format":2}\n{"size":1}\n'),
        lambda _: gzip.compress(b'{"format":1}\n'),
        lambda _: gzip.compress(b'{"format":1}\n[]\n7\n'),
        lambda data: data[:40] + bytes((data[40] ^ 8,)) + data[41:],
        lambda _: packed(b"[" * 100_000),
        lambda _: packed(b"[" + b"9" * 5000 + b"]"),
        lambda _: packed(b'["x","0",NaN,0,0,0,[],0,"","","",0]'),
        lambda _: packed(b"[],[]"),
        lambda _: packed(b'["x","0","x",0,0,0,[],0,"","","",0]'),
        lambda _: packed(b'{"a": 1}'),
    ],
)
def test_a_spoiled_record_is_not_there(store: Store, spoil: object) -> None:
    entry = LayerEntry(path=b"x", kind=b"5", metadata=Metadata(mode=0o755))
    path = keep(store, [entry])
    assert callable(spoil)
    path.write_bytes(spoil(path.read_bytes()))
    assert find_layer(store, LAYER) is None
    with pytest.raises(Damaged, match="cannot be used"):
        list(read_layer(store, LAYER))


def packed(line: bytes) -> bytes:
    return gzip.compress(b'{"format":1}\n' + line + b'\n{"size":1}\n')


@pytest.mark.parametrize(
    "place",
    [
        lambda path: path.mkdir(),
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(path.name),
    ],
)
def test_what_is_no_file_is_no_record(store: Store, place: Callable[[Path], object]) -> None:
    path = keep(store, [])
    path.unlink()
    place(path)
    assert find_layer(store, LAYER) is None
    assert prune_layers(store) == 1
    assert not path.is_symlink() and not path.exists()


def test_a_record_that_is_too_long_is_none(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(store, [LayerEntry(path=b"x" * 4000, kind=b"5", metadata=Metadata(mode=0o755))])
    monkeypatch.setattr("atoll.store.layers.RECORD_LIMIT", 4000)
    assert find_layer(store, LAYER) is None


def test_a_layer_that_never_was(store: Store) -> None:
    assert find_layer(store, BlobDigest("sha256:" + "c3" * 32)) is None
