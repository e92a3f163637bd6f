"""Read parts of an image's tree without pulling it, through its table of contents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.oci.ranges import RangeFetcher, plan_parts
from atoll.store.objects import has_object, read_chunks, read_object
from atoll.tree.erofs_reader import parse_below
from atoll.tree.model import Directory, Regular, walk
from atoll.tree.verity import verity_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from atoll.base.ids import ObjectId
    from atoll.oci.pull_plan import PullPlan
    from atoll.oci.source import ImageSource
    from atoll.store.layout import Store

MOST = 32 << 20
"""Most bytes of object contents that a preview keeps in memory."""


class _Memory:
    """An ObjectSink that keeps contents in memory."""

    def __init__(self) -> None:
        self.kept: dict[ObjectId, bytes] = {}

    def put_bytes(self, data: bytes) -> ObjectId:
        name = verity_digest(data)
        self.kept[name] = data
        return name

    def put_chunks(self, chunks: Iterable[bytes]) -> ObjectId:
        return self.put_bytes(b"".join(chunks))

    def put_file(self, handle: int) -> ObjectId:
        return self.put_chunks(read_chunks(handle))


def preview_directory(
    plan: PullPlan, source: ImageSource, store: Store, path: str
) -> tuple[Directory, Callable[[ObjectId], bytes]] | None:
    """A directory of the image's tree, and a function that reads the objects below it.

    Objects that ``store`` lacks are downloaded into memory. Returns None if the image has no table
    of contents, no such directory, or more than MOST bytes in it. Raises Damaged or NetworkError.
    """
    if plan.parts is None:
        return None
    found = parse_below(plan.parts.contents.image, path.encode())
    if not isinstance(found, Directory):
        return None
    wanted = {node.object for _, node in walk(found) if isinstance(node, Regular) and node.object}
    read = preview_objects(plan, source, store, wanted)
    return None if read is None else (found, read)


def preview_objects(
    plan: PullPlan, source: ImageSource, store: Store, wanted: Iterable[ObjectId]
) -> Callable[[ObjectId], bytes] | None:
    """A function that reads the ``wanted`` objects of the image's tree.

    Objects that ``store`` lacks are downloaded into memory. Returns None if the image has no table
    of contents, or they have more than MOST bytes. Raises Damaged or NetworkError.
    """
    if plan.parts is None:
        return None
    contents = plan.parts.contents
    missing = {name for name in wanted if not has_object(store, name)}
    rows = [row for row, name in enumerate(contents.objects) if name in missing]
    if sum(contents.sizes[row] for row in rows) > MOST:
        return None
    memory = _Memory()
    fetcher = RangeFetcher(
        contents=contents,
        blobs=plan.image.manifest.layers,
        source=source,
        sink=memory,
        on_bytes=lambda _: None,
    )
    fetcher.fetch(plan_parts(contents, rows))

    def read(name: ObjectId) -> bytes:
        return memory.kept[name] if name in memory.kept else read_object(store, name)

    return read
