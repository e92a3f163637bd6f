from __future__ import annotations

import gzip
import json
import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import AtollError, Damaged, NotFound, Refused, UsageError
from atoll.base.ids import BlobDigest
from atoll.base.report import NullReporter
from atoll.oci.blobs import BlobStore
from atoll.oci.config import ImageConfig
from atoll.oci.layout import inspect_layout, measure_layout
from atoll.oci.layout_writer import NewImage, write_layout
from atoll.oci.manifest import (
    LAYER_GZIP,
    MANIFEST,
    REF_NAME,
    Descriptor,
    ImageIndex,
    format_index,
    format_manifest,
)
from atoll.oci.pull import pull_image
from atoll.oci.reference import LayoutReference
from atoll.oci.source import opened_source
from atoll.store.check import check_store
from atoll.store.layout import Store, open_store
from atoll.store.scan import import_directory
from atoll.store.tree_images import read_image, write_image
from atoll.tree.canonical import canonical
from atoll.tree.dumpfile import format_dump
from atoll.tree.erofs_writer import tree_digest

if TYPE_CHECKING:
    from atoll.oci.image import PublishedImage

EPOCH = 1_500_000_000
CONFIG = ImageConfig(name="hello", version="1", created=EPOCH, architecture="amd64")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store", create=True)


@pytest.fixture
def image(store: Store, tmp_path: Path) -> NewImage:
    root = tmp_path / "root"
    (root / "usr" / "bin").mkdir(parents=True)
    (root / "usr" / "bin" / "tool").write_bytes(os.urandom(3_000_000))
    (root / "usr" / "bin" / "tool").chmod(0o4755)
    (root / "usr" / "small").write_bytes(b"small")
    os.link(root / "usr" / "small", root / "other")
    (root / "link").symlink_to("usr")
    os.mkfifo(root / "fifo")
    (root / ("n" * 200)).write_bytes(b"x" * 100)
    tree = canonical(import_directory(store, root, NullReporter()), epoch=EPOCH)
    return NewImage(
        tree=write_image(store, tree), config=CONFIG, owner_of={b"/usr/bin/tool": "tool"}
    )


@pytest.fixture
def layout(store: Store, image: NewImage, tmp_path: Path) -> LayoutReference:
    target = LayoutReference(directory=str(tmp_path / "out"), tag="1")
    write_layout(store, image, target, NullReporter())
    return target


def pull(layout: LayoutReference, store: Store) -> PublishedImage:
    with opened_source(layout) as source:
        return pull_image(source, store, NullReporter())


def snapshot(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_an_image_comes_back_in_another_store(
    store: Store, image: NewImage, layout: LayoutReference, tmp_path: Path
) -> None:
    other = open_store(tmp_path / "other", create=True)
    record = pull(layout, other).record
    assert record.tree == image.tree
    assert record.config == CONFIG
    assert check_store(other, NullReporter()) == ()
    assert format_dump(read_image(other, image.tree)) == format_dump(read_image(store, image.tree))
    assert tree_digest(measure_layout(layout)) == image.tree


def test_the_same_image_has_the_same_bytes(
    store: Store, image: NewImage, layout: LayoutReference, tmp_path: Path
) -> None:
    again = replace(layout, directory=str(tmp_path / "again"))
    digest = write_layout(store, image, again, NullReporter())
    assert digest == inspect_layout(layout).digest
    first = {name.rpartition("/")[2]: data for name, data in snapshot(tmp_path / "out").items()}
    second = {name.rpartition("/")[2]: data for name, data in snapshot(tmp_path / "again").items()}
    assert first == second
    before = snapshot(tmp_path / "out")
    write_layout(store, image, layout, NullReporter())
    assert snapshot(tmp_path / "out") == before


def test_tags_live_beside_each_other(
    store: Store, image: NewImage, layout: LayoutReference
) -> None:
    newer = replace(image, config=replace(CONFIG, version="2"))
    write_layout(store, newer, replace(layout, tag="2"), NullReporter())
    assert inspect_layout(layout).record.config.version == "1"
    assert inspect_layout(replace(layout, tag="2")).record.config.version == "2"
    with pytest.raises(UsageError, match="2 images") as caught:
        inspect_layout(replace(layout, tag=None))
    assert "1, 2" in (caught.value.hint or "")
    with pytest.raises(NotFound, match="no image 3"):
        inspect_layout(replace(layout, tag="3"))


def test_a_directory_with_other_things_is_not_touched(
    store: Store, image: NewImage, tmp_path: Path
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("dear")
    with pytest.raises(Refused, match="not an OCI layout"):
        write_layout(
            store, image, LayoutReference(directory=str(tmp_path / "home")), NullReporter()
        )
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["letter"]
    with pytest.raises(UsageError, match="not a directory"):
        target = LayoutReference(directory=str(tmp_path / "home" / "letter"))
        write_layout(store, image, target, NullReporter())
    with pytest.raises(NotFound, match="no OCI layout"):
        inspect_layout(LayoutReference(directory=str(tmp_path / "nothing")))


def test_a_damaged_object_is_not_published(store: Store, image: NewImage, tmp_path: Path) -> None:
    (large,) = [
        path
        for path in store.objects.rglob("*")
        if path.is_file() and path.stat().st_size == 3_000_000
    ]
    large.chmod(0o644)
    with large.open("r+b") as file:
        file.write(b"damage")
    target = LayoutReference(directory=str(tmp_path / "out"), tag="1")
    with pytest.raises(Damaged, match="contain the tree"):
        write_layout(store, image, target, NullReporter())
    assert snapshot(tmp_path / "out") == {}
    large.unlink()
    with pytest.raises(Damaged, match="object"):
        write_layout(store, image, target, NullReporter())
    assert snapshot(tmp_path / "out") == {}


@pytest.mark.parametrize("change", ["flip", "cut", "longer", "missing"])
def test_every_damaged_blob_is_noticed(
    layout: LayoutReference, tmp_path: Path, change: str
) -> None:
    blobs = [path for path in (tmp_path / "out" / "blobs").rglob("*") if path.is_file()]
    assert len(blobs) == 5
    for path in blobs:
        data = path.read_bytes()
        if change == "missing":
            path.unlink()
        else:
            middle = len(data) // 2
            flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
            path.write_bytes({"flip": flipped, "cut": data[:-1], "longer": data + b"\0"}[change])
        with pytest.raises(Damaged, match=path.name):
            measure_layout(layout)
        path.write_bytes(data)


def reword(layout: LayoutReference, config: dict[str, object] | None, **manifest: object) -> None:
    """Change manifest and config, with correct digests."""
    published = inspect_layout(layout)
    directory = Path(layout.directory)
    blobs = BlobStore(directory)
    fields = json.loads(blobs.read_document(published.manifest.config))
    fields.update(config or {})
    described = blobs.put(
        json.dumps(fields).encode(), media_type=published.manifest.config.media_type
    )
    changed = replace(published.manifest, config=described, **manifest)  # type: ignore[arg-type]
    written = blobs.put(format_manifest(changed), media_type=MANIFEST)
    tagged = replace(written, annotations={REF_NAME: layout.tag or ""})
    (directory / "index.json").write_bytes(format_index(ImageIndex(manifests=(tagged,))))


def test_consistent_lies_are_noticed(layout: LayoutReference, tmp_path: Path) -> None:
    index = tmp_path / "out" / "index.json"
    original = index.read_bytes()
    published = inspect_layout(layout)
    fields = json.loads(BlobStore(tmp_path / "out").read_document(published.manifest.config))

    def label(name: str, value: str) -> dict[str, object]:
        labels = {**fields["config"]["Labels"], name: value}
        return {"config": {**fields["config"], "Labels": labels}}

    swapped: dict[str, object] = {
        "rootfs": {"type": "layers", "diff_ids": fields["rootfs"]["diff_ids"][::-1]}
    }
    lies: list[tuple[dict[str, object], str]] = [
        (label("dev.atoll.tree", "0" * 64), "contain the tree"),
        (label("dev.atoll.size", "1024"), "larger than the image declares"),
        (swapped, "its diff_id is"),
        ({"rootfs": {"type": "layers", "diff_ids": []}}, "have different layers"),
    ]
    for lie, words in lies:
        reword(layout, lie)
        with pytest.raises(Damaged, match=words):
            measure_layout(layout)
        index.write_bytes(original)
    reword(layout, None, layers=published.manifest.layers[::-1])
    with pytest.raises(AtollError):
        measure_layout(layout)


def test_layers_that_are_gzip_are_read(layout: LayoutReference, tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    published = inspect_layout(layout)
    blobs = BlobStore(tmp_path / "out")
    layers = []
    for layer in published.manifest.layers:
        with blobs.open(layer) as file:
            data = zstandard.ZstdDecompressor().stream_reader(file).read()
        layers.append(blobs.put(gzip.compress(data), media_type=LAYER_GZIP))
    reword(layout, None, layers=tuple(layers))
    other = open_store(tmp_path / "other", create=True)
    assert pull(layout, other).record.tree == published.record.tree


def test_garbage_that_has_the_right_digest_is_damage(
    layout: LayoutReference, tmp_path: Path
) -> None:
    published = inspect_layout(layout)
    blobs = BlobStore(tmp_path / "out")
    garbage = blobs.put(b"garbage" * 100, media_type=published.manifest.layers[0].media_type)
    for media_type in (garbage.media_type, LAYER_GZIP):
        broken = replace(garbage, media_type=media_type)
        reword(layout, None, layers=(broken, *published.manifest.layers[1:]))
        with pytest.raises(Damaged, match="decompressed"):
            measure_layout(layout)


def test_what_an_interrupted_run_left_goes_away(
    store: Store, image: NewImage, layout: LayoutReference, tmp_path: Path
) -> None:
    leftover = tmp_path / "out" / "blobs" / "sha256" / ".atoll-left"
    leftover.write_text("half")
    write_layout(store, image, layout, NullReporter())
    assert not leftover.exists()


def test_a_descriptor_may_not_lie_about_its_size(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    blobs.prepare()
    blobs.put(b"abc", media_type="x")
    digest = BlobDigest("sha256:" + sha256(b"abc").hexdigest())
    with pytest.raises(Damaged, match="3 bytes instead of 2"):
        blobs.read_document(Descriptor(media_type="x", digest=digest, size=2))
    with pytest.raises(Damaged, match="too large"):
        blobs.read_document(Descriptor(media_type="x", digest=digest, size=1 << 40))
