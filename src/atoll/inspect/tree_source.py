"""One tree, opened to be looked at: in a store, or in an image that nobody has pulled.

Of an image that is not here only what it says of itself is fetched: manifest, config, table of
contents, and the few files that are asked for. Nothing is kept.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.image.info import parse_info_fields
from atoll.image.paths import DPKG, IMAGE_INFO
from atoll.oci.partial_read import MOST, preview_objects
from atoll.oci.pull_plan import plan_pull
from atoll.oci.reference import StoreReference, format_reference
from atoll.oci.source import opened_source
from atoll.store.objects import read_object
from atoll.store.refs import read_ref
from atoll.store.tree_images import read_image
from atoll.tree.erofs_reader import parse_image
from atoll.tree.model import Regular
from atoll.tree.path_ops import find_node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from atoll.base.ids import ObjectId, TreeId
    from atoll.oci.image import PublishedImage
    from atoll.oci.reference import Reference
    from atoll.oci.system_label import SystemLabel
    from atoll.store.layout import Store
    from atoll.tree.model import Directory

LARGEST = MOST
"""Bytes of a file that is read whole; no record and no database is larger."""
_STATUS = (f"{DPKG}/status", "var/lib/dpkg/status")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTree:
    """``name``, ``version``, ``created`` (seconds) are empty or None where nobody says them.

    ``root`` is None for an image without a table of contents: of that, ``published`` is all there
    is. ``read`` gives the contents of objects, several at a time for the sake of the network, but
    not more than ``MOST`` bytes.
    """

    title: str
    tree: TreeId
    root: Directory | None
    read: Callable[[Iterable[ObjectId]], Mapping[ObjectId, bytes]]
    name: str = ""
    version: str = ""
    created: int | None = None
    published: PublishedImage | None = None

    @property
    def facts(self) -> SystemLabel | None:
        """What the image says of itself, not its tree."""
        return self.published.record.config.system if self.published else None

    def contents(self, paths: Iterable[str]) -> dict[str, bytes]:
        """The contents of those of ``paths`` (relative) that are files. Raises Damaged."""
        found: dict[str, bytes] = {}
        batches: list[dict[str, ObjectId]] = [{}]
        room = LARGEST
        for path in paths:
            node = find_node(self.root, path) if self.root else None
            if not isinstance(node, Regular) or node.size > LARGEST:
                continue
            if node.object is None:
                found[path] = node.inline or b""
                continue
            if node.size > room:
                batches.append({})
                room = LARGEST
            room -= node.size
            batches[-1][path] = node.object
        for batch in batches:
            read = self.read(batch.values()) if batch else {}
            found |= {path: read[name] for path, name in batch.items()}
        return found

    def status(self) -> str | None:
        """The text of dpkg's database; None when there is none."""
        found = self.contents(_STATUS)
        data = next((found[path] for path in _STATUS if path in found), None)
        return None if data is None else data.decode(errors="replace")


@contextmanager
def opened_image(reference: Reference, store: Store) -> Iterator[OpenTree]:
    """The tree of an image, pulled or not. Raises NotFound, NetworkError, Damaged, UsageError."""
    title = format_reference(reference)
    if isinstance(reference, StoreReference):
        yield open_ref(store, reference.name, title)
        return
    with opened_source(reference) as source:
        plan = plan_pull(source, store)
        record = plan.image.record

        def preview(names: Iterable[ObjectId]) -> Mapping[ObjectId, bytes]:
            wanted = set(names)
            one = preview_objects(plan, source, store, wanted)
            if one is None:
                raise Damaged(f"{title}: files in it are larger than its tree says")
            return {name: one(name) for name in wanted}

        if plan.is_here:
            root: Directory | None = read_image(store, record.tree)
        else:
            root = parse_image(plan.parts.contents.image) if plan.parts else None
        yield OpenTree(
            title=title,
            tree=record.tree,
            root=root,
            read=_reader(store) if plan.is_here else preview,
            name=record.config.name,
            version=record.config.version,
            created=record.config.created,
            published=plan.image,
        )


def open_ref(store: Store, name: str, title: str) -> OpenTree:
    """The tree that a name in the store means. Raises NotFound or Damaged."""
    ref = read_ref(store, name)
    return OpenTree(
        title=title,
        tree=ref.tree,
        root=read_image(store, ref.tree),
        read=_reader(store),
        name=ref.name,
        version=ref.version,
        created=ref.created,
    )


def open_tree(store: Store, tree: TreeId, title: str) -> OpenTree:
    """A tree of the store that is called what it calls itself. Raises NotFound or Damaged."""
    found = OpenTree(title=title, tree=tree, root=read_image(store, tree), read=_reader(store))
    info = read_info_fields(found)
    epoch = info.get("epoch")
    return OpenTree(
        title=title,
        tree=tree,
        root=found.root,
        read=found.read,
        name=str(info.get("name", "")),
        version=str(info.get("version", "")),
        created=epoch if type(epoch) is int else None,
    )


def read_info_fields(tree: OpenTree) -> dict[str, object]:
    """What image.json of the tree says; empty when there is none. Raises Damaged."""
    data = tree.contents([IMAGE_INFO]).get(IMAGE_INFO)
    return {} if data is None else parse_info_fields(data, where=tree.title)


def _reader(store: Store) -> Callable[[Iterable[ObjectId]], Mapping[ObjectId, bytes]]:
    return lambda names: {name: read_object(store, name) for name in set(names)}
