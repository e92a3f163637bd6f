"""Read images in OCI image layouts. ``layout_writer`` writes them, ``blobs`` lists their files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, NotFound, Refused
from atoll.host.fs import find_near_path, read_regular
from atoll.oci.apply_layers import LayeredTree, TarLayer
from atoll.oci.blobs import BlobStore
from atoll.oci.config import parse_record
from atoll.oci.decompress import LayerInput
from atoll.oci.documents import MAX_DOCUMENT
from atoll.oci.image import PublishedImage, check_consistent, check_plausible
from atoll.oci.manifest import (
    ImageIndex,
    parse_index,
    parse_manifest,
)
from atoll.oci.platforms import choose_manifest, choose_tagged, this_architecture
from atoll.oci.tar_reader import TarReader
from atoll.store.objects import DigestSink
from atoll.tree.canonical import canonical
from atoll.tree.erofs_writer import tree_digest
from atoll.tree.gc_pause import gc_paused

if TYPE_CHECKING:
    from atoll.oci.reference import LayoutReference
    from atoll.store.objects import ObjectSink
    from atoll.tree.model import Directory


def inspect_layout(source: LayoutReference, *, architecture: str | None = None) -> PublishedImage:
    """Read and check an image's manifest and config; layers are not checked.

    Of an image for several architectures it is the one for ``architecture``, by default this
    machine's. Raises NotFound, UsageError if a tag is needed, Damaged or Refused.
    """
    directory = Path(source.directory)
    index = read_index(directory, missing_is_empty=False)
    return find_image(BlobStore(directory), index, source.tag, source, architecture)


def measure_layout(source: LayoutReference) -> Directory:
    """Read and check all of an image and return its tree; nothing is kept in a store."""
    published = inspect_layout(source)
    return read_tree(BlobStore(Path(source.directory)), published, DigestSink())


def is_layout(directory: Path) -> bool:
    """Whether ``directory`` is an OCI image layout."""
    return (directory / "oci-layout").is_file()


def read_tree(blobs: BlobStore, image: PublishedImage, sink: ObjectSink) -> Directory:
    """Build the tree from the layers. Raises Damaged unless its digest is the declared one."""
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
    """Find the image ``tag`` in an index and read its manifest and config.

    Errors name the image by ``source``. Raises NotFound, UsageError, Damaged or Refused.
    """
    tagged = choose_tagged(index, tag, path=source.directory, kind="oci")
    descriptor = choose_manifest(
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
    check_consistent(manifest, record, where=where)
    image = PublishedImage(digest=descriptor.digest, manifest=manifest, record=record)
    check_plausible(image, where=where)
    return image


def read_index(directory: Path, *, missing_is_empty: bool) -> ImageIndex:
    """Read ``index.json``; with ``missing_is_empty`` a missing layout gives an empty index.

    Raises NotFound, Damaged, or Refused for a directory that is something else.
    """
    path = directory / "index.json"
    if not os.path.lexists(directory / "oci-layout") or not os.path.lexists(path):
        if not missing_is_empty:
            nearest = find_near_path(directory)
            hint = (
                f"did you mean: oci:{nearest}"
                if nearest
                else "atoll build --output oci:DIR creates one"
            )
            raise NotFound(f"there is no OCI layout in {directory}", hint=hint)
        if {each.name for each in directory.iterdir()} - {"blobs", "oci-layout"}:
            raise Refused(
                f"{directory} is not empty and not an OCI layout",
                hint="choose an empty or new directory",
            )
        return ImageIndex()
    return parse_index(read_regular(path, limit=MAX_DOCUMENT), where=str(path))
