"""Pull whole layers and build the tree from them, for an image without a usable table of contents.

::

    missing layers   ─→ downloads/, resumed, size and SHA-256 checked        (this thread)
                     ─→ unpacked: diff_id checked, files → staged objects    (a second thread)
    all layers       ─→ canonical tree, its digest compared with the config's
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.base.ids import TreeId
from atoll.oci.apply_layers import LayeredTree, TarLayer
from atoll.oci.decompress import LayerInput
from atoll.oci.layer_records import RecordedLayer, StoredLayer
from atoll.oci.tar_reader import TarReader
from atoll.store.layers import read_layer, writing_layer
from atoll.store.tree_images import IMAGE_FORMAT
from atoll.tree.canonical import canonical
from atoll.tree.erofs_writer import format_image
from atoll.tree.gc_pause import gc_paused
from atoll.tree.verity import verity_digest

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

    from atoll.base.ids import BlobDigest
    from atoll.oci.downloads import Downloads
    from atoll.oci.pull_plan import PlannedLayer, PullPlan
    from atoll.oci.source import ImageSource
    from atoll.store.layout import Store
    from atoll.store.objects import ObjectSink


class FullPull:
    """Builds one tree from layers: this thread downloads, a second one unpacks them in order."""

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
        """Fetch and apply all layers; return the tree image, checked. Raises Damaged."""
        jobs: list[Future[None]] = []
        with gc_paused(), ThreadPoolExecutor(1, thread_name_prefix="unpack") as pool:
            try:
                for layer in self._plan.layers:
                    path = (
                        None
                        if layer.present_size is not None
                        else source.layer(layer.blob, downloads)
                    )
                    jobs.append(pool.submit(self._add, layer, path))
                    # Stop downloading as soon as a layer could not be unpacked.
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
            known = StoredLayer(read_layer(self._store, layer.diff_id))
            self._tree.add_layer(known, where=where)
            self._left -= layer.present_size or 0
            return
        record = self._records / layer.diff_id.removeprefix("sha256:")
        with path.open("rb") as file, writing_layer(record) as kept:
            data = LayerInput(file, layer.blob.media_type, limit=self._left, where=where)
            tar = TarLayer(TarReader(data, where=where), self._sink)
            self._tree.add_layer(RecordedLayer(tar, kept, self._stop), where=where)
            kept.finish(size=data.size)
        if data.diff_id != layer.diff_id:
            raise Damaged(
                f"{where}: its diff_id is {data.diff_id}, not {layer.diff_id}",
                hint="the image is damaged: report it to its publisher",
            )
        self._left -= data.size
        self.written[layer.diff_id] = record

    def _checked(self) -> bytes:
        record = self._plan.image.record
        # Drop the layered tree early: it is as large as the canonical one made from it.
        layered, self._tree = self._tree, LayeredTree()
        tree = canonical(layered.root, epoch=record.config.created, user_xattrs=True)
        del layered
        image = format_image(tree, version=IMAGE_FORMAT)
        found = TreeId(verity_digest(image))
        if found != record.tree:
            raise Damaged(
                f"{self._plan.name}: the layers contain the tree {found}, not {record.tree}",
                hint="the image is damaged: report it to its publisher",
            )
        return image
