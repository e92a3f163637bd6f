"""What taking an image into a store will do: which layers, which parts, how many bytes, what space.

Manifest, config and table of contents are fetched for it, and nothing is changed.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLayer:
    """``here`` is the unpacked size of a layer of which nothing is missing; None for one to fetch
    from, and when the whole tree is here, so that nobody needs to know. ``downloaded`` is how much
    of its blob need not come.
    """

    blob: Descriptor
    diff_id: BlobDigest
    title: str
    here: int | None
    downloaded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedParts:
    """What to fetch by the table of contents; ``size`` is that of the objects in the parts,
    ``stored`` what they take on a disk in whole blocks, ``count`` how many they are."""

    contents: TableOfContents
    parts: tuple[LayerRange, ...]
    size: int
    stored: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PullPlan:
    """What taking an image into a store would do. Sizes are bytes.

    Without ``parts`` whole layers are fetched. ``looked_up`` came already, to make the plan.
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
        """The layers to fetch from: none when the tree is here."""
        return () if self.is_here else tuple(each for each in self.layers if each.here is None)

    @property
    def fetch(self) -> int:
        """What will come over the network."""
        return sum(each.blob.size - each.downloaded for each in self.missing)

    @property
    def space(self) -> int:
        """What the store's file system needs: layers as they come and as files, verity, tree."""
        if self.is_here:
            return 0
        if self.parts:
            return self.parts.stored + stored_size(len(self.parts.contents.image)) + _SPARE
        if not self.missing:
            return _SPARE
        here = sum(each.here or 0 for each in self.layers)
        unpacked = max(self.image.record.unpacked_size - here, 0)
        return self.fetch + unpacked * 9 // 8 + _SPARE

    @property
    def inodes(self) -> int:
        """How many files come at least; how many a whole layer has is not known."""
        return self.parts.count + 1 if self.parts and not self.is_here else 0


def plan_pull(source: ImageSource, store: Store) -> PullPlan:
    """What a pull would do; manifest, config and contents are fetched, nothing is changed."""
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
    """None when the image has no table of contents, or one that cannot be used."""
    *layers, last = image.manifest.layers or (None,)
    if last is None or not is_contents(last) or last.size > LIMIT:
        return None
    try:
        data = b"".join(source.part(last, ByteRange(end=last.size)))
        contents = parse_contents(
            data, tree=image.record.tree, layers=[each.size for each in layers], where=source.name
        )
    except Damaged:
        return None  # fetching the layers tells what is wrong, or does without
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
    come = [0] * len(image.manifest.layers)
    for part in planned.parts:
        span = part_span(planned.contents, part)
        come[part.layer] += span.end - span.start
    return tuple(
        PlannedLayer(
            blob=blob,
            diff_id=diff_id,
            title=title,
            here=None if size else 0,
            downloaded=blob.size - size,
        )
        for blob, (diff_id, title), size in zip(
            image.manifest.layers, image.record.layers, come, strict=True
        )
    )


def plan_layers(image: PublishedImage, store: Store, *, is_here: bool) -> tuple[PlannedLayer, ...]:
    """Every layer of the tree whole, but those of which nothing is missing."""
    return tuple(
        PlannedLayer(
            blob=blob,
            diff_id=diff_id,
            title=title,
            here=None if is_here else find_layer(store, diff_id),
            downloaded=0 if is_here else downloaded_size(store, blob),
        )
        for blob, (diff_id, title) in zip(image.manifest.layers, image.record.layers, strict=True)
        if diff_id != image.record.container
    )


def _has_tree(store: Store, tree: TreeId) -> bool:
    """Whether a tree is here with all its objects, which are found in the image's bytes.

    A full parse would take seconds. What only looks like an object's name can make this wrong in
    one direction: the image is then pulled again.
    """
    try:
        data = read_image_bytes(store, tree)
    except (NotFound, Damaged):
        return False
    return not find_missing(store, find_objects(data))
