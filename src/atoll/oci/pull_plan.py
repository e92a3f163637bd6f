"""Plan a pull: which layers, which ranges, how many bytes, how much space.

Planning fetches the manifest, the config and the table of contents, and changes nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, NotFound
from atoll.host.http import ByteRange
from atoll.oci.downloads import downloaded_size
from atoll.oci.ranges import part_span, plan_parts
from atoll.oci.source import inspect_source
from atoll.oci.toc import LIMIT, is_contents, parse_contents
from atoll.store.layers import find_layer
from atoll.store.objects import find_missing
from atoll.store.tree_images import read_image_bytes
from atoll.tree.erofs_objects import find_objects
from atoll.tree.verity import stored_size

if TYPE_CHECKING:
    from atoll.base.ids import BlobDigest, TreeId
    from atoll.oci.image import PublishedImage
    from atoll.oci.manifest import Descriptor
    from atoll.oci.ranges import LayerRange
    from atoll.oci.source import ImageSource
    from atoll.oci.toc import TableOfContents
    from atoll.store.layout import Store

_SPARE = 16 << 20
"""Bytes added to every estimate of space, as a margin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLayer:
    """One layer; sizes in bytes.

    ``present_size`` is the unpacked size of a layer of which nothing is missing. It is None for one
    that must be fetched, in whole or in part, and for all layers if the store has the tree.
    ``downloaded`` is how much of the blob need not be fetched.
    """

    blob: Descriptor
    diff_id: BlobDigest
    title: str
    present_size: int | None
    downloaded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedParts:
    """The ranges to fetch, found in the table of contents.

    Of the missing objects, ``size`` is their total size, ``stored`` that in whole file system
    blocks, both in bytes, and ``count`` their number.
    """

    contents: TableOfContents
    parts: tuple[LayerRange, ...]
    size: int
    stored: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PullPlan:
    """What a pull would do. Sizes are in bytes.

    Without ``parts`` whole layers are fetched. ``looked_up`` was already downloaded for the plan;
    ``free`` is the free space of the store's file system.
    """

    name: str
    image: PublishedImage
    is_here: bool
    layers: tuple[PlannedLayer, ...]
    free: int
    parts: PlannedParts | None = None
    looked_up: int = 0

    @property
    def missing(self) -> tuple[PlannedLayer, ...]:
        """The layers to fetch from; none if the tree is already in the store."""
        return (
            () if self.is_here else tuple(each for each in self.layers if each.present_size is None)
        )

    @property
    def fetch(self) -> int:
        """Bytes to download."""
        return sum(each.blob.size - each.downloaded for each in self.missing)

    @property
    def space(self) -> int:
        """Bytes needed in the store: downloaded layers, their files, fs-verity, the tree image."""
        if self.is_here:
            return 0
        if self.parts:
            return self.parts.stored + stored_size(len(self.parts.contents.image)) + _SPARE
        if not self.missing:
            return _SPARE
        present = sum(each.present_size or 0 for each in self.layers)
        unpacked = max(self.image.record.unpacked_size - present, 0)
        # One eighth more for partly filled blocks, fs-verity hashes and the tree image.
        return self.fetch + unpacked * 9 // 8 + _SPARE

    @property
    def inodes(self) -> int:
        """The least number of new files; that of a whole layer is not known in advance."""
        return self.parts.count + 1 if self.parts and not self.is_here else 0


def plan_pull(source: ImageSource, store: Store) -> PullPlan:
    """Plan a pull. Fetches manifest, config and table of contents; changes nothing.

    Raises NotFound, NetworkError, MissingPrivilege, Damaged or Refused.
    """
    image = inspect_source(source)
    is_here = _has_tree(store, image.record.tree)
    parts = None if is_here else _plan_parts(image, source, store)
    layers = _layers_of_parts(image, parts) if parts else plan_layers(image, store, is_here=is_here)
    found = os.statvfs(store.root)
    return PullPlan(
        name=source.name,
        image=image,
        is_here=is_here,
        layers=layers,
        free=found.f_bavail * found.f_frsize,
        parts=parts,
        looked_up=image.manifest.layers[-1].size if parts else 0,
    )


def _plan_parts(image: PublishedImage, source: ImageSource, store: Store) -> PlannedParts | None:
    """None if the image has no usable table of contents."""
    *layers, last = image.manifest.layers or (None,)
    if last is None or not is_contents(last) or last.size > LIMIT:
        return None
    try:
        data = b"".join(source.part(last, ByteRange(end=last.size)))
        contents = parse_contents(
            data, tree=image.record.tree, layers=[each.size for each in layers], where=source.name
        )
    except Damaged:
        return None  # fetching whole layers reports what is wrong, or works without it
    missing = find_missing(store, contents.objects)
    size = sum(contents.sizes[row] for row in missing)
    if size > image.record.unpacked_size:
        return None
    stored = sum(stored_size(contents.sizes[row]) for row in missing)
    return PlannedParts(
        contents=contents,
        parts=plan_parts(contents, missing),
        size=size,
        stored=stored,
        count=len(missing),
    )


def _layers_of_parts(image: PublishedImage, planned: PlannedParts) -> tuple[PlannedLayer, ...]:
    fetched = [0] * len(image.manifest.layers)
    for part in planned.parts:
        span = part_span(planned.contents, part)
        fetched[part.layer] += span.end - span.start
    return tuple(
        PlannedLayer(
            blob=blob,
            diff_id=diff_id,
            title=title,
            present_size=None if size else 0,
            downloaded=blob.size - size,
        )
        for blob, (diff_id, title), size in zip(
            image.manifest.layers, image.record.layers, fetched, strict=True
        )
    )


def plan_layers(image: PublishedImage, store: Store, *, is_here: bool) -> tuple[PlannedLayer, ...]:
    """Plan to fetch whole layers, except those of which nothing is missing."""
    return tuple(
        PlannedLayer(
            blob=blob,
            diff_id=diff_id,
            title=title,
            present_size=None if is_here else find_layer(store, diff_id),
            downloaded=0 if is_here else downloaded_size(store, blob),
        )
        for blob, (diff_id, title) in zip(image.manifest.layers, image.record.layers, strict=True)
        if diff_id != image.record.container
    )


def _has_tree(store: Store, tree: TreeId) -> bool:
    """Whether the store has a tree with all its objects.

    The objects are found by a scan of the image's bytes, as a full parse would take seconds. Bytes
    that only look like an object id can make the result False, never True: then the image is pulled
    again.
    """
    try:
        data = read_image_bytes(store, tree)
    except (NotFound, Damaged):
        return False
    return not find_missing(store, find_objects(data))
