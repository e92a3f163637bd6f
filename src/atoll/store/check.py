"""Check a store: read and verify everything in it, and return what is wrong."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, Damaged
from atoll.base.ids import ObjectId, is_hex_digest
from atoll.store.lock import reading
from atoll.store.objects import measure_object
from atoll.store.refs import list_ref_names, read_ref
from atoll.store.tree_images import list_images, read_image
from atoll.tree.model import Regular, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.base.ids import TreeId
    from atoll.base.report import Reporter
    from atoll.store.layout import Store

THREADS = 2
_BATCH = 64
_REPORT_EVERY = 16


class FindingKind(StrEnum):
    """What is wrong; the values are shown to people."""

    DAMAGED_OBJECT = "damaged object"
    MISSING_OBJECT = "missing object"
    DAMAGED_IMAGE = "damaged image"
    DAMAGED_REF = "damaged ref"
    STRAY = "stray file"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFinding:
    """One problem; ``subject`` is a digest, the name of a ref, or a path."""

    kind: FindingKind
    subject: str
    text: str


def check_store(store: Store, reporter: Reporter) -> tuple[StoreFinding, ...]:
    """Read and verify everything in ``store``.

    Returns strays, then damaged objects, images and refs. Raises Busy.
    """
    with reading(store):
        names, strays = _list_objects(store)
        with reporter.step("Reading objects"):
            damaged = _check_objects(store, names, reporter)
        with reporter.step("Reading images"):
            images = _check_images(store, frozenset(names))
        return (*strays, *damaged, *images, *_check_refs(store))


def _list_objects(store: Store) -> tuple[list[ObjectId], list[StoreFinding]]:
    names, strays = [], []
    for folder in sorted(os.listdir(store.objects)):
        for rest in sorted(os.listdir(store.objects / folder)):
            if len(folder) == 2 and is_hex_digest(folder + rest):
                names.append(ObjectId(folder + rest))
            else:
                path = str(store.objects / folder / rest)
                strays.append(
                    StoreFinding(kind=FindingKind.STRAY, subject=path, text="is no object")
                )
    return names, strays


def _check_objects(store: Store, names: list[ObjectId], reporter: Reporter) -> list[StoreFinding]:
    batches = [names[at : at + _BATCH] for at in range(0, len(names), _BATCH)]
    findings: list[StoreFinding] = []
    with ThreadPoolExecutor(THREADS, thread_name_prefix="check") as pool:
        for number, found in enumerate(pool.map(lambda batch: _check_batch(store, batch), batches)):
            findings += found
            if number % _REPORT_EVERY == 0:
                reporter.progress(number * _BATCH, len(names), unit="objects")
    reporter.progress(len(names), len(names), unit="objects")
    return findings


def _check_batch(store: Store, names: list[ObjectId]) -> list[StoreFinding]:
    findings = []
    for name in names:
        try:
            measure_object(store, name)
        except Damaged as error:
            findings.append(
                StoreFinding(kind=FindingKind.DAMAGED_OBJECT, subject=name, text=error.message)
            )
    return findings


def _check_images(store: Store, objects: frozenset[ObjectId]) -> Iterator[StoreFinding]:
    for tree in list_images(store):
        yield from _check_image(store, tree, objects)


def _check_image(
    store: Store, tree: TreeId, objects: frozenset[ObjectId]
) -> Iterator[StoreFinding]:
    try:
        root = read_image(store, tree)
    except AtollError as error:
        yield StoreFinding(kind=FindingKind.DAMAGED_IMAGE, subject=tree, text=error.message)
        return
    for path, node in walk(root):
        if isinstance(node, Regular) and node.object and node.object not in objects:
            text = f"object {node.object} is missing: {os.fsdecode(path)} of tree {tree}"
            yield StoreFinding(kind=FindingKind.MISSING_OBJECT, subject=node.object, text=text)


def _check_refs(store: Store) -> Iterator[StoreFinding]:
    trees = frozenset(list_images(store))
    for name in list_ref_names(store):
        try:
            ref = read_ref(store, name)
        except AtollError as error:
            yield StoreFinding(kind=FindingKind.DAMAGED_REF, subject=name, text=error.message)
            continue
        if ref.tree not in trees:
            text = f"{name} means tree {ref.tree}, which does not exist"
            yield StoreFinding(kind=FindingKind.DAMAGED_REF, subject=name, text=text)
