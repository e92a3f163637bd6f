"""Digest types. Each is a string that its ``parse_`` function has validated once, on input.

``ObjectId``   fs-verity SHA-256 of a file's content (4 KiB blocks, no salt), 64 hex digits
``TreeId``     the same digest of a tree's composefs image: the identity of a whole system
``BlobDigest`` ``sha256:`` and 64 hex digits: plain SHA-256 of a blob, as in OCI
"""

from __future__ import annotations

import re
from typing import NewType

from atoll.base.errors import Damaged

ObjectId = NewType("ObjectId", str)
TreeId = NewType("TreeId", str)
BlobDigest = NewType("BlobDigest", str)

_HEX64 = re.compile(r"[0-9a-f]{64}")


def is_hex_digest(text: str) -> bool:
    """Whether ``text`` is 64 lower-case hex digits."""
    return _HEX64.fullmatch(text) is not None


def parse_object_id(text: str) -> ObjectId:
    """Raises Damaged when ``text`` is not 64 lower-case hex digits."""
    if not is_hex_digest(text):
        raise Damaged(f"{text!r} is not an object digest (64 hex digits)")
    return ObjectId(text)


def parse_tree_id(text: str) -> TreeId:
    """Raises Damaged when ``text`` is not 64 lower-case hex digits."""
    if not is_hex_digest(text):
        raise Damaged(f"{text!r} is not a tree digest (64 hex digits)")
    return TreeId(text)


def parse_blob_digest(text: str) -> BlobDigest:
    """Raises Damaged when ``text`` is not ``sha256:`` and 64 lower-case hex digits."""
    if not text.startswith("sha256:") or not is_hex_digest(text[7:]):
        raise Damaged(f"{text!r} is not a blob digest (sha256: and 64 hex digits)")
    return BlobDigest(text)
