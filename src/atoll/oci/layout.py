"""Images in OCI layouts, which are directories: written from a store, and read into one.

``blobs`` draws what is on disk. ``index.json`` is replaced last, when all it leads to is durable
and has been read back: a run that is cut leaves the image that was there, or the new one.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import Busy, Damaged, MissingPrivilege, NotFound, Refused, UsageError
from atoll.host.fs import find_near_path, make_directory, read_regular, replace_file, space_errors
from atoll.host.syscalls import syncfs
from atoll.oci.apply_layers import LayeredTree, TarLayer
from atoll.oci.blobs import BlobStore
from atoll.oci.config import (
    ImageConfig,
    ImageRecord,
    format_record,
    parse_record,
    record_annotations,
)
from atoll.oci.container_layer import plan_container_layer
from atoll.oci.decompress import LayerInput
from atoll.oci.documents import MAX_DOCUMENT
from atoll.oci.image import PublishedImage, check_disk, check_plausible, check_together
from atoll.oci.layer_plan import plan_layers
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
    parse_index,
    parse_manifest,
)
from atoll.oci.platforms import choose_in, choose_tagged, tag_of, this_architecture
from atoll.oci.reference import format_reference
from atoll.oci.tar_reader import TarReader
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
from atoll.store.objects import DigestSink, adding_objects, stream_content
from atoll.store.tree_images import read_image, read_image_bytes, write_image
from atoll.tree.canonical import canonical
from atoll.tree.erofs_writer import tree_digest
from atoll.tree.gc_pause import gc_paused
from atoll.tree.model import Regular

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from concurrent.futures import ThreadPoolExecutor

    from atoll.base.ids import BlobDigest, ObjectId, TreeId
    from atoll.base.report import Reporter
    from atoll.oci.layer_plan import LayerPlan
    from atoll.oci.reference import LayoutReference
    from atoll.store.layout import Store
    from atoll.store.objects import ObjectSink
    from atoll.tree.model import Directory

DEFAULT_TAG = "latest"
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class NewImage:
    """What is to be published: a tree of the store, what it is called, who owns which path.

    ``owner_of`` maps absolute paths to the package that ships them; see ``layers``.
    """

    tree: TreeId
    config: ImageConfig
    owner_of: Mapping[bytes, str]


def write_layout(
    store: Store, image: NewImage, target: LayoutReference, reporter: Reporter
) -> BlobDigest:
    """Write ``image`` into the layout at ``target``, read it back, and give its manifest digest.

    Other images in the layout stay; one with the same tag is replaced. After an error the layout is
    as it was. Raises Damaged, NoSpace, Busy, or Refused for a directory that is something else.
    """
    tree = read_image(store, image.tree)
    directory = Path(target.directory)
    with _locked(directory), space_errors(directory):
        index = _read_index(directory, missing_is_empty=True)
        blobs = BlobStore(directory)
        blobs.prepare()
        try:
            with reporter.step("Writing layers"):
                digest, size = _write_image(blobs, store, tree, image)
            tag = target.tag or DEFAULT_TAG
            index = _with_image(index, tag, digest, size)
            with reporter.step("Reading the image back"):
                _read_tree(blobs, _find_image(blobs, index, tag, target), DigestSink())
            _sync(directory)
        except BaseException:
            blobs.take_back()
            raise
        replace_file(directory / "oci-layout", _LAYOUT)
        replace_file(directory / "index.json", format_index(index))
    return digest


def read_layout(source: LayoutReference, store: Store, reporter: Reporter) -> ImageRecord:
    """Take an image into ``store``: its tree is there, whole and durable, when this returns.

    Every size and digest is checked, the tree's last; after an error nothing of it is in the store.
    """
    published = inspect_layout(source)
    check_disk(published, store, where=format_reference(source))
    blobs = BlobStore(Path(source.directory))
    with reporter.step("Reading layers"), adding_objects(store) as writer:
        tree = _read_tree(blobs, published, writer)
    with reporter.step("Writing the tree"):
        write_image(store, tree)
    return published.record


def inspect_layout(source: LayoutReference, *, architecture: str | None = None) -> PublishedImage:
    """What a layout says of an image, its manifest and config checked, its layers not.

    Of an image for several machines it is the one for ``architecture``, otherwise for this machine.
    """
    directory = Path(source.directory)
    index = _read_index(directory, missing_is_empty=False)
    return _find_image(BlobStore(directory), index, source.tag, source, architecture)


def measure_layout(source: LayoutReference) -> Directory:
    """The tree of an image, all of it read and checked, nothing kept."""
    published = inspect_layout(source)
    return _read_tree(BlobStore(Path(source.directory)), published, DigestSink())


def is_layout(directory: Path) -> bool:
    return (directory / "oci-layout").is_file()


def _write_image(
    blobs: BlobStore, store: Store, tree: Directory, image: NewImage
) -> tuple[BlobDigest, int]:
    """All blobs of an image; the digest and the size of its manifest."""
    with packing_threads() as pool:
        layers = _Layers(blobs, store, pool)
        for plan in plan_layers(tree, image.owner_of):
            layers.write(plan)
        extra = plan_container_layer(store, tree)
        container = layers.write(extra) if extra else None
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
    """Writes the layers of an image, and remembers where in them each object is."""

    def __init__(self, blobs: BlobStore, store: Store, pool: ThreadPoolExecutor) -> None:
        self._blobs = blobs
        self._store = store
        self._pool = pool
        self._frames: list[list[tuple[int, int]]] = []
        self._places: dict[ObjectId, ObjectLocation] = {}
        self.descriptors: list[Descriptor] = []
        self.contents: list[tuple[BlobDigest, str]] = []
        self.unpacked = 0

    def write(self, plan: LayerPlan) -> BlobDigest:
        """The diff_id of the layer."""
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
        """The table of contents as one more layer, where the tree can have one."""
        data = format_contents(image, self._frames, self._places)
        if data is not None:
            written = self._blobs.put(data, media_type=LAYER_ZSTD)
            marked = replace(written, annotations={ANNOTATION: VERSION})
            self._add(marked, EMPTY_DIFF_ID, TITLE, len(EMPTY_TAR))

    def _add(self, blob: Descriptor, diff_id: BlobDigest, title: str, size: int) -> None:
        self.descriptors.append(blob)
        self.contents.append((diff_id, title))
        self.unpacked += size

    def _content(self, node: Regular, offset: int) -> Iterator[bytes]:
        """The content of a file, which begins at ``offset`` of the layer that is written."""
        if node.object is not None:
            place = ObjectLocation(layer=len(self._frames), offset=offset, size=node.size)
            self._places.setdefault(node.object, place)
        return stream_content(self._store, node)


def _read_tree(blobs: BlobStore, image: PublishedImage, sink: ObjectSink) -> Directory:
    """The tree that the layers make, compared with the one the image says it is."""
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


def _with_image(index: ImageIndex, tag: str, digest: BlobDigest, size: int) -> ImageIndex:
    new = Descriptor(media_type=MANIFEST, digest=digest, size=size, annotations={REF_NAME: tag})
    kept = tuple(each for each in index.manifests if each.annotations.get(REF_NAME) != tag)
    others = tuple(each for each in index.others if tag_of(each) != tag)
    return ImageIndex(manifests=(*kept, new), others=others)


def _find_image(
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


def _read_index(directory: Path, *, missing_is_empty: bool) -> ImageIndex:
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


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold a layout, made when it is not there; raises Busy when another process writes it."""
    try:
        # What is 0600 in the tree is in it: who publishes it opens it.
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
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(
                f"another operation writes to {directory}",
                hint="wait until it ends, then try again",
            ) from None
        yield
    finally:
        os.close(handle)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syncfs(handle)
    finally:
        os.close(handle)
