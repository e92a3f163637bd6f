"""Small images for tests: a tree made from a few files, published as an OCI layout."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.report import NullReporter
from atoll.oci.blobs import BlobStore
from atoll.oci.config import ImageConfig, format_record
from atoll.oci.layout import inspect_layout
from atoll.oci.layout_writer import NewImage, write_layout
from atoll.oci.manifest import (
    CONFIG,
    MANIFEST,
    REF_NAME,
    ImageIndex,
    format_index,
    format_manifest,
    parse_index,
)
from atoll.oci.reference import LayoutReference
from atoll.store.layout import open_store
from atoll.store.objects import adding_objects
from atoll.store.tree_images import write_image
from atoll.tree.canonical import canonical
from atoll.tree.model import INLINE_LIMIT, Directory, Metadata, Regular, Symlink
from tests.made_once import publish_once

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atoll.base.ids import BlobDigest, TreeId
    from atoll.store.layout import Store
    from atoll.store.objects import ObjectSink
    from atoll.tree.model import Node

EPOCH = 1_788_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeImage:
    layout: LayoutReference
    tree: TreeId
    digest: BlobDigest


def publish(
    where: Path,
    files: Mapping[str, bytes],
    *,
    tag: str = "one",
    version: str = "1",
    contents: bool = True,
) -> MadeImage:
    """An image of ``files`` (absolute paths) in the layout ``where/layout``.

    The second part of a path names the package: ``/usr/bash/…`` is one layer or shares one. Without
    ``contents`` it has no table of contents, as when another tool has packed its layers again.
    """

    def make(folder: Path) -> tuple[TreeId, BlobDigest]:
        store = open_store(folder / "maker", create=True)
        owners = {path.encode(): path.split("/")[2] for path in files if path.count("/") > 2}
        config = ImageConfig(name="hello", version=version, created=EPOCH, architecture="amd64")
        tree = write_image(store, make_tree(store, files))
        image = NewImage(tree=tree, config=config, owner_of=owners)
        layout = LayoutReference(directory=str(folder / "layout"), tag=tag)
        digest = write_layout(store, image, layout, NullReporter())
        return tree, digest if contents else _without_contents(layout)

    open_store(where / "maker", create=True)
    key = ("image", tuple(files.items()), tag, version, contents)
    tree, digest = publish_once(where, key, make)
    layout = LayoutReference(directory=str(where / "layout"), tag=tag)
    return MadeImage(layout=layout, tree=tree, digest=digest)


def _without_contents(layout: LayoutReference) -> BlobDigest:
    published = inspect_layout(layout)
    directory = Path(layout.directory)
    blobs = BlobStore(directory)
    record = replace(published.record, layers=published.record.layers[:-1])
    manifest = replace(
        published.manifest,
        config=blobs.put(format_record(record), media_type=CONFIG),
        layers=published.manifest.layers[:-1],
    )
    written = blobs.put(format_manifest(manifest), media_type=MANIFEST)
    index = parse_index((directory / "index.json").read_bytes(), where="index.json")
    others = [each for each in index.manifests if each.annotations.get(REF_NAME) != layout.tag]
    tagged = replace(written, annotations={REF_NAME: layout.tag or ""})
    (directory / "index.json").write_bytes(format_index(ImageIndex(manifests=(*others, tagged))))
    return written.digest


def make_tree(store: Store, files: Mapping[str, bytes]) -> Directory:
    root: dict[bytes, Node] = {}
    with adding_objects(store) as sink:
        for path, content in files.items():
            here, name = place_in(root, path)
            here[name] = _leaf(sink, content)
            here[name + b".link"] = Symlink(Metadata(mode=0o777, mtime=EPOCH - 9), name)
            if len(content) % 2:
                here[name + b".again"] = here[name]
    return canonical(Directory(Metadata(mode=0o755), root), epoch=EPOCH)


def place_in(root: dict[bytes, Node], path: str) -> tuple[dict[bytes, Node], bytes]:
    """The entries that ``path`` belongs into, its folders made where they are not there; its name
    in them."""
    *folders, name = path.strip("/").encode(errors="surrogateescape").split(b"/")
    for folder in folders:
        below = root.setdefault(folder, Directory(Metadata(mode=0o755), {}))
        assert isinstance(below, Directory)
        assert isinstance(below.entries, dict)
        root = below.entries
    return root, name


def _leaf(sink: ObjectSink, content: bytes) -> Regular:
    metadata = Metadata(mode=0o4755, uid=3, mtime=EPOCH - 7)
    if len(content) <= INLINE_LIMIT:
        return Regular(metadata, len(content), None, content or None)
    return Regular(metadata, len(content), sink.put_bytes(content))


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder`` with its content: equal when nothing has changed."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "store-lock"
    }
