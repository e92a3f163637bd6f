"""Images in OCI layouts, which are directories, read into a store. ``layout_writer`` writes them.

``blobs`` describes the files of a layout.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, NotFound, Refused
from atoll.host.fs import find_near_path, read_regular
from atoll.oci.apply_layers import LayeredTree, TarLayer
from atoll.oci.blobs import BlobStore
from atoll.oci.config import (
    ImageRecord,
    parse_record,
)
from atoll.oci.decompress import LayerInput
from atoll.oci.documents import MAX_DOCUMENT
from atoll.oci.image import PublishedImage, check_disk, check_plausible, check_together
from atoll.oci.manifest import (
    ImageIndex,
    parse_index,
    parse_manifest,
)
from atoll.oci.platforms import choose_in, choose_tagged, this_architecture
from atoll.oci.reference import format_reference
from atoll.oci.tar_reader import TarReader
from atoll.store.objects import DigestSink, adding_objects
from atoll.store.tree_images import write_image
from atoll.tree.canonical import canonical
from atoll.tree.erofs_writer import tree_digest
from atoll.tree.gc_pause import gc_paused

if TYPE_CHECKING:
    from atoll.base.report import Reporter
    from atoll.oci.reference import LayoutReference
    from atoll.store.layout import Store
    from atoll.store.objects import ObjectSink
    from atoll.tree.model import Directory


def read_layout(source: LayoutReference, store: Store, reporter: Reporter) -> ImageRecord:
    """Take an image into ``store``: its tree is there, whole and durable, when this returns.

    Every size and digest is checked, the tree's last; after an error nothing of it is in the store.
    """
    published = inspect_layout(source)
    check_disk(published, store, where=format_reference(source))
    blobs = BlobStore(Path(source.directory))
    with reporter.step("Reading layers"), adding_objects(store) as writer:
        tree = read_tree(blobs, published, writer)
    with reporter.step("Writing the tree"):
        write_image(store, tree)
    return published.record


def inspect_layout(source: LayoutReference, *, architecture: str | None = None) -> PublishedImage:
    """What a layout says of an image, its manifest and config checked, its layers not.

    Of an image for several machines it is the one for ``architecture``, otherwise for this machine.
    """
    directory = Path(source.directory)
    index = read_index(directory, missing_is_empty=False)
    return find_image(BlobStore(directory), index, source.tag, source, architecture)


def measure_layout(source: LayoutReference) -> Directory:
    """The tree of an image, all of it read and checked, nothing kept."""
    published = inspect_layout(source)
    return read_tree(BlobStore(Path(source.directory)), published, DigestSink())


def is_layout(directory: Path) -> bool:
    return (directory / "oci-layout").is_file()


def read_tree(blobs: BlobStore, image: PublishedImage, sink: ObjectSink) -> Directory:
    """The tree of the layers; raises Damaged unless it has the digest that the image declares."""
    record = image.record
    layered = LayeredTree()
    left = record.unpacked_size
    for descriptor, (diff_id, _) in zip(image.manifest.layers, record.layers, strict=True):
        where = f"layer {descriptor.digest}"
        with blobs.open(descriptor) as file, gc_paused():
            layer = LayerInput(file, descriptor.media_type, limit=left, where=where)
            if diff_id == record.container:
                LayeredTree().add_layer(
                    TarLayer(TarReader(layer, where=where), DigestSink()), where=where
                )
            else:
                layered.add_layer(TarLayer(TarReader(layer, where=where), sink), where=where)
        if layer.diff_id != diff_id:
            raise Damaged(
                f"{where}: its diff_id is {layer.diff_id}, not {diff_id}",
                hint="pull or copy the image again",
            )
        left -= layer.size
    tree = canonical(layered.root, epoch=record.config.created, user_xattrs=True)
    found = tree_digest(tree)
    if found != record.tree:
        raise Damaged(
            f"the layers of image {image.digest} contain the tree {found}, not {record.tree}",
            hint="the image, or the object it was written from, is damaged: build or pull it again",
        )
    return tree


def find_image(
    blobs: BlobStore,
    index: ImageIndex,
    tag: str | None,
    source: LayoutReference,
    architecture: str | None = None,
) -> PublishedImage:
    tagged = choose_tagged(index, tag, place=source.directory, kind="oci")
    descriptor = choose_in(
        tagged,
        blobs.read_document,
        architecture=architecture or this_architecture(),
        where=source.directory,
    )
    where = f"manifest {descriptor.digest}"
    manifest = parse_manifest(blobs.read_document(descriptor), where=where)
    where = f"config {manifest.config.digest}"
    record = parse_record(blobs.read_document(manifest.config), where=where)
    where = f"image {descriptor.digest}"
    check_together(manifest, record, where=where)
    image = PublishedImage(digest=descriptor.digest, manifest=manifest, record=record)
    check_plausible(image, where=where)
    return image


def read_index(directory: Path, *, missing_is_empty: bool) -> ImageIndex:
    path = directory / "index.json"
    if not os.path.lexists(directory / "oci-layout") or not os.path.lexists(path):
        if not missing_is_empty:
            near = find_near_path(directory)
            hint = (
                f"did you mean: oci:{near}" if near else "atoll build --output oci:DIR creates one"
            )
            raise NotFound(f"there is no OCI layout in {directory}", hint=hint)
        if {each.name for each in directory.iterdir()} - {"blobs", "oci-layout"}:
            raise Refused(
                f"{directory} is not empty and not an OCI layout",
                hint="choose an empty or new directory",
            )
        return ImageIndex()
    return parse_index(read_regular(path, limit=MAX_DOCUMENT), where=str(path))
