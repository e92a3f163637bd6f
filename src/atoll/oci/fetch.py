"""Get an image into a store from any reference; all commands use this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.oci.pull import pull_image
from atoll.oci.reference import StoreReference
from atoll.oci.source import opened_source
from atoll.store.refs import read_ref

if TYPE_CHECKING:
    from collections.abc import Callable

    from atoll.base.ids import BlobDigest, TreeId
    from atoll.base.report import Reporter
    from atoll.oci.reference import Reference
    from atoll.store.layout import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedImage:
    """An image whose complete tree is in ``store``.

    ``manifest`` is its digest; None for an image that was given as ``store:NAME``.
    """

    store: Store
    tree: TreeId
    manifest: BlobDigest | None


def fetch_image(
    reference: Reference, open_store: Callable[[], Store], reporter: Reporter
) -> FetchedImage:
    """Pull the image; only what the store lacks is read or fetched.

    The store is opened or created only after the image's manifest was found. Raises NotFound,
    NetworkError, Damaged, NoSpace, MissingPrivilege, Busy or Refused; after an error no part of the
    image has a name in the store, except objects that the next run reuses.
    """
    if isinstance(reference, StoreReference):
        store = open_store()
        return FetchedImage(store=store, tree=read_ref(store, reference.name).tree, manifest=None)
    with opened_source(reference) as source:
        source.manifest()
        store = open_store()
        image = pull_image(source, store, reporter)
    return FetchedImage(store=store, tree=image.record.tree, manifest=image.digest)
