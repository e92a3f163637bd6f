"""Write an image from a store into an OCI image layout.

``index.json`` is replaced last, when all blobs that it refers to are durable and have been read
back. After an interruption the layout has the previous image or the new one.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import Busy, MissingPrivilege, UsageError
from atoll.host.fs import make_directory, replace_file, space_errors, take_lock
from atoll.host.syscalls import syncfs
from atoll.oci.blobs import BlobStore
from atoll.oci.config import (
    ImageConfig,
    ImageRecord,
    format_record,
    record_annotations,
)
from atoll.oci.container_layer import plan_container_layer
from atoll.oci.layer_plan import plan_layers
from atoll.oci.layout import find_image, read_index, read_tree
from atoll.oci.manifest import (
    CONFIG,
    LAYER_ZSTD,
    MANIFEST,
    REF_NAME,
    Descriptor,
    ImageIndex,
    Manifest,
    format_index,
    format_manifest,
)
from atoll.oci.platforms import tag_of
from atoll.oci.tar_writer import TarWriter
from atoll.oci.toc import (
    ANNOTATION,
    EMPTY_DIFF_ID,
    EMPTY_TAR,
    TITLE,
    VERSION,
    ObjectLocation,
    format_contents,
)
from atoll.oci.zstd_frames import FrameWriter, packing_threads
from atoll.store.objects import DigestSink, stream_content
from atoll.store.tree_images import read_image, read_image_bytes
from atoll.tree.model import Regular

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from concurrent.futures import ThreadPoolExecutor

    from atoll.base.ids import BlobDigest, ObjectId, TreeId
    from atoll.base.report import Reporter
    from atoll.oci.layer_plan import LayerPlan
    from atoll.oci.reference import LayoutReference
    from atoll.store.layout import Store
    from atoll.tree.model import Directory

DEFAULT_TAG = "latest"
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class NewImage:
    """An image to publish: a tree of the store, its metadata, and the package of each path.

    ``owner_of`` maps absolute paths to the package that ships them; see ``layer_plan``.
    """

    tree: TreeId
    config: ImageConfig
    owner_of: Mapping[bytes, str]


def write_layout(
    store: Store, image: NewImage, target: LayoutReference, reporter: Reporter
) -> BlobDigest:
    """Write ``image`` into the layout at ``target``, read it back, and return its manifest digest.

    Other images in the layout stay; one with the same tag is replaced. After an error the layout is
    unchanged. Raises Damaged, NoSpace, Busy, MissingPrivilege, UsageError, or Refused for a
    directory with other contents.
    """
    tree = read_image(store, image.tree)
    directory = Path(target.directory)
    with _locked(directory), space_errors(directory):
        index = read_index(directory, missing_is_empty=True)
        blobs = BlobStore(directory)
        blobs.prepare()
        try:
            with reporter.step("Writing layers"):
                digest, size = _write_image(blobs, store, tree, image)
            tag = target.tag or DEFAULT_TAG
            index = _with_image(index, tag, digest, size)
            with reporter.step("Reading the image back"):
                read_tree(blobs, find_image(blobs, index, tag, target), DigestSink())
            _sync(directory)
        except BaseException:
            blobs.remove_new()
            raise
        replace_file(directory / "oci-layout", _LAYOUT)
        replace_file(directory / "index.json", format_index(index))
    return digest


def _write_image(
    blobs: BlobStore, store: Store, tree: Directory, image: NewImage
) -> tuple[BlobDigest, int]:
    """Write all blobs of an image; returns digest and size of its manifest."""
    with packing_threads() as pool:
        layers = _Layers(blobs, store, pool)
        for plan in plan_layers(tree, image.owner_of):
            layers.write(plan)
        container_plan = plan_container_layer(store, tree)
        container = layers.write(container_plan) if container_plan else None
    layers.write_contents(read_image_bytes(store, image.tree))
    record = ImageRecord(
        config=image.config,
        tree=image.tree,
        unpacked_size=layers.unpacked,
        layers=tuple(layers.contents),
        container=container,
    )
    manifest = Manifest(
        config=blobs.put(format_record(record), media_type=CONFIG),
        layers=tuple(layers.descriptors),
        annotations=record_annotations(record),
    )
    written = blobs.put(format_manifest(manifest), media_type=MANIFEST)
    return written.digest, written.size


class _Layers:
    """Writes the layers of an image and records where each object is in them."""

    def __init__(self, blobs: BlobStore, store: Store, pool: ThreadPoolExecutor) -> None:
        self._blobs = blobs
        self._store = store
        self._pool = pool
        self._frames: list[list[tuple[int, int]]] = []
        self._locations: dict[ObjectId, ObjectLocation] = {}
        self.descriptors: list[Descriptor] = []
        self.contents: list[tuple[BlobDigest, str]] = []
        self.unpacked = 0

    def write(self, plan: LayerPlan) -> BlobDigest:
        """Write one layer; returns its diff_id."""
        with self._blobs.writing(LAYER_ZSTD) as blob:
            output = FrameWriter(blob, self._pool)
            tar = TarWriter(output, lambda node: self._content(node, output.size))
            for group in plan.groups:
                output.end_frame()
                for path, node in group:
                    output.before_file(node.size if isinstance(node, Regular) else 0)
                    tar.add(path, node)
            tar.finish()
            output.finish()
        self._frames.append(output.frames)
        self._add(blob.descriptor, output.diff_id, plan.title, output.size)
        return output.diff_id

    def write_contents(self, image: bytes) -> None:
        """Write the table of contents as one more layer, if the tree can have one."""
        data = format_contents(image, self._frames, self._locations)
        if data is not None:
            written = self._blobs.put(data, media_type=LAYER_ZSTD)
            marked = replace(written, annotations={ANNOTATION: VERSION})
            self._add(marked, EMPTY_DIFF_ID, TITLE, len(EMPTY_TAR))

    def _add(self, blob: Descriptor, diff_id: BlobDigest, title: str, size: int) -> None:
        self.descriptors.append(blob)
        self.contents.append((diff_id, title))
        self.unpacked += size

    def _content(self, node: Regular, offset: int) -> Iterator[bytes]:
        """The content of a file that starts at ``offset`` of the current layer's tar."""
        if node.object is not None:
            location = ObjectLocation(layer=len(self._frames), offset=offset, size=node.size)
            self._locations.setdefault(node.object, location)
        return stream_content(self._store, node)


def _with_image(index: ImageIndex, tag: str, digest: BlobDigest, size: int) -> ImageIndex:
    new = Descriptor(media_type=MANIFEST, digest=digest, size=size, annotations={REF_NAME: tag})
    kept = tuple(each for each in index.manifests if each.annotations.get(REF_NAME) != tag)
    others = tuple(each for each in index.others if tag_of(each) != tag)
    return ImageIndex(manifests=(*kept, new), others=others)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Create a layout if it is missing and lock it. Raises Busy while another process writes it."""
    try:
        # The blobs contain files that are 0600 in the tree, so others may not read them by default.
        make_directory(directory, mode=0o700)
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError as error:
        raise MissingPrivilege(
            f"cannot write an image to {directory}: {error.strerror}",
            hint="choose another directory, or try again with sudo",
        ) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"cannot write an image to {directory}: it is not a directory") from error
    try:
        if not take_lock(handle, fcntl.LOCK_EX, seconds=0):
            raise Busy(
                f"another operation writes to {directory}",
                hint="wait until it ends, then try again",
            )
        yield
    finally:
        os.close(handle)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syncfs(handle)
    finally:
        os.close(handle)
