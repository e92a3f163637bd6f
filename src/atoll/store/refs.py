"""Refs: named roots that keep a tree, with the image's name and version.

One file per ref, ``refs/NAME.json``; a name may have parts separated by ``/``::

    {"algorithm": "fsverity-sha256-4096", "created": 1788000000, "format": 1,
     "name": "hello", "tree": "<64 hex>", "version": "1"}
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from atoll.base.errors import Damaged, NotFound, UsageError
from atoll.base.fields import parse_json_fields
from atoll.base.ids import TreeId, parse_tree_id
from atoll.base.suggest import find_nearest
from atoll.host.fs import fsync_directory, read_if_there, replace_file, space_errors
from atoll.store.lock import adding
from atoll.store.tree_images import IMAGE_FORMAT

if TYPE_CHECKING:
    from atoll.store.layout import Store

ALGORITHM = "fsverity-sha256-4096"
"""The kind of a tree digest, stored with every digest: fs-verity, SHA-256, blocks of 4 KiB."""

_PART = r"[A-Za-z0-9_][A-Za-z0-9._+:~@-]{0,127}"
_NAME = re.compile(f"{_PART}(/{_PART}){{0,7}}")
_SUFFIX = ".json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """``name`` and ``version`` are the image's, for people. ``created`` is its epoch, in seconds
    since 1970."""

    tree: TreeId
    name: str
    version: str
    created: int


def check_ref_name(text: str) -> str:
    """Return ``text`` if it is a valid name of a ref; raises UsageError."""
    if not _NAME.fullmatch(text) or any(part.endswith(_SUFFIX) for part in text.split("/")):
        raise UsageError(
            f"{text!r} is not a valid image name",
            hint="a name has letters, digits and . _ + : ~ @ -, begins with a letter, a digit or _,"
            " and may have parts separated by /",
        )
    return text


def write_ref(store: Store, name: str, ref: Ref) -> None:
    """Make ``name`` refer to a tree of the store, durably.

    Raises NotFound if the tree is not in the store, UsageError, Busy or NoSpace.
    """
    path = _path(store, name)
    if not store.image_path(ref.tree).exists():
        raise NotFound(f"no tree {ref.tree} in the store {store.root}")
    with space_errors(store.root), adding(store):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, format_ref(ref))
        for parent in path.parents[1 : len(path.relative_to(store.refs).parts)]:
            fsync_directory(parent)


def read_ref(store: Store, name: str) -> Ref:
    """Read the ref ``name``. Raises UsageError, NotFound or Damaged."""
    path = _path(store, name)
    data = read_if_there(path)
    if data is None:
        nearest = find_nearest(name, list_ref_names(store))
        hint = f"did you mean: store:{nearest[0]}" if nearest else "see: atoll store list"
        raise NotFound(f"no image {name} in the store {store.root}", hint=hint)
    return parse_ref(data, where=os.fspath(path))


def list_ref_names(store: Store) -> tuple[str, ...]:
    """The names of all refs, sorted. Raises OSError if a directory of refs cannot be read."""
    found = []
    for folder, _, files in os.walk(store.refs, onerror=_raise):
        parent = Path(folder).relative_to(store.refs)
        found += [str(parent / name)[: -len(_SUFFIX)] for name in files if name.endswith(_SUFFIX)]
    return tuple(sorted(found))


def list_refs(store: Store) -> tuple[tuple[str, Ref], ...]:
    """All refs, sorted by name. Raises Damaged."""
    return tuple((name, read_ref(store, name)) for name in list_ref_names(store))


def remove_ref(store: Store, name: str) -> None:
    """Remove the ref ``name``; its tree stays until the next garbage collection.

    Raises UsageError, NotFound or Busy.
    """
    path = _path(store, name)
    with adding(store):
        try:
            path.unlink()
        except FileNotFoundError as error:
            raise NotFound(
                f"no image {name} in the store {store.root}", hint="see: atoll store list"
            ) from error
        fsync_directory(path.parent)


def format_ref(ref: Ref) -> bytes:
    """The content of a ref's file."""
    fields = {
        "algorithm": ALGORITHM,
        "created": ref.created,
        "format": IMAGE_FORMAT,
        "name": ref.name,
        "tree": ref.tree,
        "version": ref.version,
    }
    return json.dumps(fields, sort_keys=True).encode() + b"\n"


def parse_ref(data: bytes, *, where: str) -> Ref:
    """Parse a ref's file; ``where`` names it in errors. Raises Damaged."""
    try:
        fields = parse_json_fields(data, file="it")
        for name, expected in (("algorithm", ALGORITHM), ("format", IMAGE_FORMAT)):
            if fields.table.get(name) != expected:
                fields.flaw(name, f"must be {expected}: no other is supported")
        return Ref(
            tree=parse_tree_id(fields.string("tree")),
            name=fields.line("name"),
            version=fields.line("version", ""),
            created=fields.number("created"),
        )
    except Damaged as error:
        raise Damaged(
            f"{where} is not a ref: {error.message}", hint="remove it and build again"
        ) from error


def _raise(error: OSError) -> NoReturn:
    raise error


def _path(store: Store, name: str) -> Path:
    return store.refs / (check_ref_name(name) + _SUFFIX)
