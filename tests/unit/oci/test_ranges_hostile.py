"""Wrong ranges: whole layers are fetched instead, or nothing changes."""

from __future__ import annotations

import json
import os
import struct
from typing import TYPE_CHECKING

import pytest
import zstandard

from atoll.base.errors import Damaged, NetworkError
from atoll.base.report import NullReporter
from atoll.host.http import RetryPolicy
from atoll.oci.pull import apply_pull
from atoll.oci.pull_plan import plan_pull
from atoll.oci.reference import parse_reference
from atoll.oci.source import opened_source
from atoll.store.check import check_store
from atoll.store.layout import Store, open_store
from atoll.store.tree_images import list_images
from tests.fake_registry import Asked, FakeRegistry, Reply, digest_of, fake_registry
from tests.images import MadeImage, publish, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from atoll.oci.pull_plan import PullPlan

QUICK = RetryPolicy(attempts=2, first_pause=0.001, longest_pause=0.002, timeout=5.0)
FILES = {f"/usr/bash/{number}": os.urandom(200_000 + number) for number in range(6)}
CHANGED = FILES | {"/usr/bash/2": os.urandom(200_000), "/usr/bash/4": os.urandom(200_000)}


class Notices(NullReporter):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def notice(self, text: str) -> None:  # type: ignore[explicit-override]
        self.heard.append(text)


@pytest.fixture
def image(tmp_path: Path) -> MadeImage:
    publish(tmp_path, FILES)
    return publish(tmp_path, CHANGED, tag="two")


@pytest.fixture
def registry(image: MadeImage, tmp_path: Path) -> Iterator[FakeRegistry]:
    assert image
    with fake_registry(tmp_path / "layout") as found:
        yield found


@pytest.fixture
def store(registry: FakeRegistry, tmp_path: Path) -> Store:
    """A store that has the first image."""
    kept = open_store(tmp_path / "store", create=True)
    pull(registry.reference(), kept)
    return kept


def pull(text: str, store: Store, heard: Notices | None = None) -> PullPlan:
    with opened_source(parse_reference(text), retry=QUICK) as source:
        plan = plan_pull(source, store)
        apply_pull(plan, source, store, heard or NullReporter())
    return plan


def parts(change: Callable[[Reply], Reply]) -> Callable[[Asked, Reply], Reply]:
    return lambda _, reply: change(reply) if reply.status == 206 else reply


def flipped(reply: Reply) -> Reply:
    middle = len(reply.body) // 2
    body = reply.body[:middle] + bytes((reply.body[middle] ^ 1,)) + reply.body[middle + 1 :]
    return Reply(status=206, headers=reply.headers, body=body)


def test_a_flipped_bit_in_a_part(registry: FakeRegistry, store: Store, image: MadeImage) -> None:
    registry.bend = parts(flipped)
    heard = Notices()
    plan = pull(registry.reference("two"), store, heard)
    assert plan.parts is not None
    assert ["falling back to a full pull" in text for text in heard.heard] == [True]
    assert image.tree in list_images(store)
    assert check_store(store, NullReporter()) == ()
    assert not list(store.staging.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    {
        "another range": (lambda r: Reply(status=206, body=r.body), "sends another range"),
        "more": (
            lambda r: Reply(status=206, headers=r.headers, body=r.body + b"more"),
            "announces .* at most .* are expected",
        ),
        "without end": (
            lambda r: Reply(status=206, headers=r.headers, endless=True),
            "sends more than",
        ),
        "less": (
            lambda r: Reply(status=206, headers=r.headers, body=r.body[:-1]),
            "tried 2 times",
        ),
    }.values(),
)
def test_a_part_of_another_size_changes_nothing(
    registry: FakeRegistry, store: Store, change: Callable[[Reply], Reply], message: str
) -> None:
    before = list_images(store)
    registry.bend = parts(change)
    with pytest.raises(NetworkError, match=message):
        pull(registry.reference("two"), store)
    assert list_images(store) == before
    assert check_store(store, NullReporter()) == ()
    registry.bend = lambda _, reply: reply
    pull(registry.reference("two"), store)


def relabel(layout: Path, change: Callable[[bytearray], None]) -> None:
    """Another table of contents for the image ``two``, with correct digests."""
    folder = layout / "blobs" / "sha256"
    index = json.loads((layout / "index.json").read_bytes())
    entry = index["manifests"][-1]
    manifest = json.loads((folder / entry["digest"][7:]).read_bytes())
    layer = manifest["layers"][-1]
    blob = (folder / layer["digest"][7:]).read_bytes()
    data = bytearray(zstandard.ZstdDecompressor().decompress(blob[19:]))
    change(data)
    packed = zstandard.ZstdCompressor().compress(bytes(data))
    blob = blob[:15] + struct.pack("<I", len(packed)) + packed
    layer |= {"digest": put(folder, blob), "size": len(blob)}
    text = json.dumps(manifest).encode()
    entry |= {"digest": put(folder, text), "size": len(text)}
    (layout / "index.json").write_text(json.dumps(index))


def put(folder: Path, data: bytes) -> str:
    digest = digest_of(data)
    (folder / digest.removeprefix("sha256:")).write_bytes(data)
    return digest


def swap_places(data: bytearray) -> None:
    layers, objects = struct.unpack_from("<II", data, 16)
    frames = sum(struct.unpack_from(f"<{layers}I", data, 24))
    start = 24 + 4 * layers + 8 * frames + 2 * objects
    offsets = list(struct.unpack_from(f"<{objects}Q", data, start))
    changed = offsets[1:] + offsets[:1]
    struct.pack_into(f"<{objects}Q", data, start, *changed)
    struct.pack_into(f"<{objects}Q", data, start + 8 * objects, *[200_000] * objects)


def overlap(data: bytearray) -> None:
    layers, objects = struct.unpack_from("<II", data, 16)
    frames = sum(struct.unpack_from(f"<{layers}I", data, 24))
    start = 24 + 4 * layers + 8 * frames + 2 * objects
    struct.pack_into(f"<{objects}Q", data, start, *range(objects))


def spoil_tree(data: bytearray) -> None:
    data[-1] ^= 1


def cut(data: bytearray) -> None:
    del data[100:]


@pytest.mark.parametrize("lie", [swap_places, overlap, spoil_tree, cut])
def test_contents_that_lie_cost_only_time(
    lie: Callable[[bytearray], None],
    registry: FakeRegistry,
    store: Store,
    image: MadeImage,
    tmp_path: Path,
) -> None:
    relabel(tmp_path / "layout", lie)
    heard = Notices()
    plan = pull(registry.reference("two"), store, heard)
    assert plan.parts is None or any("falling back to a full pull" in text for text in heard.heard)
    assert image.tree in list_images(store)
    assert check_store(store, NullReporter()) == ()


def test_contents_that_are_not_what_their_digest_says(
    registry: FakeRegistry, store: Store, tmp_path: Path
) -> None:
    layout = tmp_path / "layout"
    index = json.loads((layout / "index.json").read_bytes())
    folder = layout / "blobs" / "sha256"
    manifest = json.loads((folder / index["manifests"][-1]["digest"][7:]).read_bytes())
    path = folder / manifest["layers"][-1]["digest"][7:]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    before = snapshot(store.root)
    with pytest.raises(Damaged, match="has another digest"):
        pull(registry.reference("two"), store)
    assert snapshot(store.root) == before
