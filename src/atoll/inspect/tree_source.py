"""Open a tree to read it: one in a store, or one in an image that has not been pulled.

Of an image that is not in the store, only the manifest, the config, the table of contents and the
requested files are fetched. Nothing is stored.
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

FILE_LIMIT = MOST
"""The largest file in bytes that is read; no record and no dpkg database is larger."""
_STATUS = (f"{DPKG}/status", "var/lib/dpkg/status")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTree:
    """A tree, and how to read its files.

    ``root`` is None for an image that is not pulled and has no table of contents; only
    ``published`` is known then. ``read`` returns the contents of objects: several per call, to save
    round trips, but at most ``FILE_LIMIT`` bytes. ``name`` and ``version`` are empty and
    ``created`` (seconds since 1970) is None if unknown.
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
    def label(self) -> SystemLabel | None:
        """The system label of the image's config; None for a tree in a store."""
        return self.published.record.config.system if self.published else None

    def contents(self, paths: Iterable[str]) -> dict[str, bytes]:
        """The contents of those of ``paths`` (relative) that are regular files within the limit.

        Raises Damaged.
        """
        found: dict[str, bytes] = {}
        batches: list[dict[str, ObjectId]] = [{}]
        left = FILE_LIMIT
        for path in paths:
            node = find_node(self.root, path) if self.root else None
            if not isinstance(node, Regular) or node.size > FILE_LIMIT:
                continue
            if node.object is None:
                found[path] = node.inline or b""
                continue
            if node.size > left:
                batches.append({})
                left = FILE_LIMIT
            left -= node.size
            batches[-1][path] = node.object
        for batch in batches:
            read = self.read(batch.values()) if batch else {}
            found |= {path: read[name] for path, name in batch.items()}
        return found

    def status(self) -> str | None:
        """The text of dpkg's status file; None if there is none."""
        found = self.contents(_STATUS)
        data = next((found[path] for path in _STATUS if path in found), None)
        return None if data is None else data.decode(errors="replace")


@contextmanager
def opened_image(reference: Reference, store: Store) -> Iterator[OpenTree]:
    """Open the tree of an image, pulled or not.

    Raises NotFound, NetworkError, Damaged or UsageError.
    """
    title = format_reference(reference)
    if isinstance(reference, StoreReference):
        yield open_ref(store, reference.name, title)
        return
    with opened_source(reference) as source:
        plan = plan_pull(source, store)
        record = plan.image.record

        def preview(names: Iterable[ObjectId]) -> Mapping[ObjectId, bytes]:
            wanted = set(names)
            read_one = preview_objects(plan, source, store, wanted)
            if read_one is None:
                raise Damaged(f"{title}: files in it are larger than its tree says")
            return {name: read_one(name) for name in wanted}

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
    """Open the tree of the ref ``name`` in the store. Raises NotFound or Damaged."""
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
    """Open a tree of the store; name and version are from its image.json.

    Raises NotFound or Damaged.
    """
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
    """The fields of the tree's image.json; empty if there is none. Raises Damaged."""
    data = tree.contents([IMAGE_INFO]).get(IMAGE_INFO)
    return {} if data is None else parse_info_fields(data, where=tree.title)


def _reader(store: Store) -> Callable[[Iterable[ObjectId]], Mapping[ObjectId, bytes]]:
    return lambda names: {name: read_object(store, name) for name in set(names)}
