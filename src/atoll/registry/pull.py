"""Take an image into a store: only the layers that are missing, whole and checked, or nothing.

::

    manifest, config ─→ PullPlan: which layers are here (store/layers), bytes, space
    missing layers   ─→ downloads/, resumed, size and SHA-256 checked        (this thread)
                     ─→ unpacked: diff_id checked, files → staged objects    (a second thread)
    all layers       ─→ canonical tree, its digest compared with the config's
                     ─→ objects get their names, then layer records, then the tree's image

Until the last comparison nothing has a name in the store; after it a cut leaves objects that the
next run finds. A ref is the caller's to write, last.
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, NoSpace, NotFound, Refused
from atoll.base.ids import TreeId
from atoll.host.files import space_errors
from atoll.registry.blobs import LayerInput
from atoll.registry.downloads import clear_downloads, downloaded_size, opened_downloads
from atoll.registry.recorded import KnownLayer, RecordedLayer
from atoll.registry.source import inspect_source
from atoll.registry.tarreader import TarReader
from atoll.registry.unpack import LayeredTree, TarLayer
from atoll.store.images import IMAGE_FORMAT, read_image_bytes, write_image_bytes
from atoll.store.layers import find_layer, keep_layers, read_layer, writing_layer
from atoll.store.lock import adding
from atoll.store.objects import adding_objects, staging_directory
from atoll.tree.bulk import without_collection
from atoll.tree.canonical import canonical
from atoll.tree.erofs_writer import format_image
from atoll.tree.verity import verity_digest

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

    from atoll.base.ids import BlobDigest
    from atoll.base.report import Reporter
    from atoll.registry.downloads import Downloads
    from atoll.registry.layout import PublishedImage
    from atoll.registry.manifest import Descriptor
    from atoll.registry.source import ImageSource
    from atoll.store.layout import Store
    from atoll.store.objects import ObjectSink

MOST_EXPANSION = 256
"""An image that claims to unpack to more than this many times its size is a bomb."""

_SMALL = 64 << 20
_SPARE = 16 << 20
_PLACE = re.compile(rb"/[0-9a-f]{2}/[0-9a-f]{62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLayer:
    """``here`` is the unpacked size of a layer that the store has; None for one to fetch, and when
    the whole tree is here, so that nobody needs to know.
    """

    blob: Descriptor
    diff_id: BlobDigest
    title: str
    here: int | None
    downloaded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PullPlan:
    """What taking an image into a store would do. Sizes are bytes."""

    name: str
    image: PublishedImage
    is_here: bool
    layers: tuple[PlannedLayer, ...]
    free: int

    @property
    def missing(self) -> tuple[PlannedLayer, ...]:
        """The layers to fetch: none when the tree is here."""
        return () if self.is_here else tuple(each for each in self.layers if each.here is None)

    @property
    def fetch(self) -> int:
        """What will come over the network."""
        return sum(each.blob.size - each.downloaded for each in self.missing)

    @property
    def space(self) -> int:
        """What the store's file system needs: layers as they come and as files, verity, tree."""
        if not self.missing:
            return 0 if self.is_here else _SPARE
        here = sum(each.here or 0 for each in self.layers)
        unpacked = max(self.image.record.unpacked_size - here, 0)
        return self.fetch + unpacked * 9 // 8 + _SPARE


def pull_image(source: ImageSource, store: Store, reporter: Reporter) -> PublishedImage:
    """Take the image into ``store``; its tree is there, whole and durable, when this returns."""
    plan = plan_pull(source, store)
    apply_pull(plan, source, store, reporter)
    return plan.image


def plan_pull(source: ImageSource, store: Store) -> PullPlan:
    """What a pull would do; only manifest and config are fetched, nothing is changed."""
    image = inspect_source(source)
    packed = sum(each.size for each in image.manifest.layers)
    if image.record.unpacked_size > _SMALL + MOST_EXPANSION * packed:
        raise Refused(
            f"{source.name}: it claims that {packed} bytes unpack to {image.record.unpacked_size}",
            hint="no honest image does: report it to the owner of the registry",
        )
    is_here = _has_tree(store, image.record.tree)
    found = os.statvfs(store.root)
    return PullPlan(
        name=source.name,
        image=image,
        is_here=is_here,
        layers=tuple(
            PlannedLayer(
                blob=blob,
                diff_id=diff_id,
                title=title,
                here=None if is_here else find_layer(store, diff_id),
                downloaded=0 if is_here else downloaded_size(store, blob),
            )
            for blob, (diff_id, title) in zip(
                image.manifest.layers, image.record.layers, strict=True
            )
        ),
        free=found.f_bavail * found.f_frsize,
    )


def apply_pull(plan: PullPlan, source: ImageSource, store: Store, reporter: Reporter) -> None:
    """Do what was planned. After an error nothing of the image is in the store.

    Raises NoSpace before anything is fetched; NetworkError, Damaged, Refused or Busy.
    """
    if plan.is_here:
        clear_downloads(store)
        return
    if plan.space > plan.free:
        raise NoSpace(
            f"{plan.name} needs {plan.space} bytes where {store.root} is; {plan.free} are free",
            hint=f"see: df -h {store.root}",
        )
    meter = _Meter(reporter, sum(each.blob.size for each in plan.missing))
    wanted = frozenset(each.blob.digest for each in plan.missing)
    with (
        space_errors(store.root),
        adding(store),
        opened_downloads(store, wanted, meter.add) as downloads,
        staging_directory(store) as records,
    ):
        with reporter.step(f"Fetching {plan.name}"), adding_objects(store) as writer:
            pull = _Pull(plan=plan, store=store, sink=writer, records=records)
            image = pull.run(source, downloads)
        with reporter.step("Writing the tree"):
            keep_layers(store, pull.written)
            write_image_bytes(store, image)


class _Meter:
    def __init__(self, reporter: Reporter, total: int) -> None:
        self._reporter = reporter
        self._total = total
        self._done = 0

    def add(self, count: int) -> None:
        self._done += count
        self._reporter.progress(min(self._done, self._total), self._total, unit="B")


class _Pull:
    """Layers on their way into one tree. This thread fetches; a second one unpacks, in order."""

    def __init__(self, *, plan: PullPlan, store: Store, sink: ObjectSink, records: Path) -> None:
        self._plan = plan
        self._store = store
        self._sink = sink
        self._records = records
        self._tree = LayeredTree()
        self._left = plan.image.record.unpacked_size
        self._stop = Event()
        self.written: dict[BlobDigest, Path] = {}

    def run(self, source: ImageSource, downloads: Downloads) -> bytes:
        """The composefs image of what the layers make, which is what the published image says."""
        jobs: list[Future[None]] = []
        with without_collection(), ThreadPoolExecutor(1, thread_name_prefix="unpack") as pool:
            try:
                for layer in self._plan.layers:
                    path = None if layer.here is not None else source.layer(layer.blob, downloads)
                    jobs.append(pool.submit(self._add, layer, path))
                    for job in jobs:
                        if job.done():
                            job.result()
                for job in jobs:
                    job.result()
            except BaseException:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        return self._checked()

    def _add(self, layer: PlannedLayer, path: Path | None) -> None:
        where = f"{self._plan.name}: layer {layer.blob.digest}"
        if path is None:
            known = KnownLayer(read_layer(self._store, layer.diff_id))
            self._tree.add_layer(known, where=where)
            self._left -= layer.here or 0
            return
        record = self._records / layer.diff_id.removeprefix("sha256:")
        with path.open("rb") as file, writing_layer(record) as kept:
            data = LayerInput(file, layer.blob.media_type, limit=self._left, where=where)
            tar = TarLayer(TarReader(data, where=where), self._sink)
            self._tree.add_layer(RecordedLayer(tar, kept, self._stop), where=where)
            kept.finish(size=data.size)
        if data.diff_id != layer.diff_id:
            raise Damaged(f"{where}: unpacked it is {data.diff_id}, not {layer.diff_id}",
                          hint="the image is damaged: report it to its maker")  # fmt: skip
        self._left -= data.size
        self.written[layer.diff_id] = record

    def _checked(self) -> bytes:
        record = self._plan.image.record
        layered, self._tree = self._tree, LayeredTree()  # as large as what is made of it: let it go
        tree = canonical(layered.root, epoch=record.config.created)
        del layered
        image = format_image(tree, version=IMAGE_FORMAT)
        found = TreeId(verity_digest(image))
        if found != record.tree:
            raise Damaged(
                f"{self._plan.name}: the layers make the tree {found}, not {record.tree}",
                hint="the image is damaged: report it to its maker",
            )
        return image


def _has_tree(store: Store, tree: TreeId) -> bool:
    """Whether a tree is here with all its objects; looks for their places in the image's bytes.

    A full parse would take seconds. What only looks like a place can make this wrong in one
    direction: the image is then pulled again.
    """
    try:
        data = read_image_bytes(store, tree)
    except (NotFound, Damaged):
        return False
    objects = os.fsencode(store.objects)
    return all(map(os.path.lexists, {objects + place for place in _PLACE.findall(data)}))
