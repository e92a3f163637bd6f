"""Read fields of OCI JSON documents. Every error names the document (``where``)."""

from __future__ import annotations

import json
from typing import Any

from atoll.base.errors import Damaged
from atoll.base.ids import BlobDigest, parse_blob_digest
from atoll.base.json import parse_json_object

MAX_DOCUMENT = 8 << 20
"""Bytes of the largest manifest, index or config that is read."""


def load_document(data: bytes, where: str) -> dict[str, Any]:
    """Parse a document. Raises Damaged if it is too large or not a JSON object."""
    return parse_json_object(data, where=where, limit=MAX_DOCUMENT)


def dump_document(fields: dict[str, object]) -> bytes:
    """Serialize deterministically: a document is referred to by the digest of these bytes."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def take_list(fields: dict[str, Any], key: str, where: str) -> list[Any]:
    """The list ``fields[key]``; empty if missing. Raises Damaged if it is not a list."""
    value = fields.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Damaged(f"{where}: {key} is not a list")
    return value


def take_object(fields: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    """The object ``fields[key]``; empty if missing. Raises Damaged if it is not an object."""
    value = fields.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Damaged(f"{where}: {key} is not an object")
    return value


def take_strings(fields: dict[str, Any], key: str, where: str) -> dict[str, str]:
    """Like ``take_object``, and all values must be strings."""
    value = take_object(fields, key, where)
    if not all(isinstance(each, str) for each in value.values()):
        raise Damaged(f"{where}: {key} has values that are not strings")
    return value


def take_digest(value: object, where: str) -> BlobDigest:
    """``value`` as a ``sha256:`` digest. Raises Damaged."""
    if not isinstance(value, str):
        raise Damaged(f"{where}: a digest is missing")
    try:
        return parse_blob_digest(value)
    except Damaged as error:
        raise Damaged(f"{where}: {error.message}") from error
