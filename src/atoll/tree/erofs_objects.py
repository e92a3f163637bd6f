"""The objects that a composefs image names, found in its bytes; and the image without their places.

A file that is kept elsewhere has its digest in the image as 32 bytes (``metacopy``) and, right
behind unless several inodes share them, as 64 hex digits (``redirect``). Digests do not compress,
so an image travels without the second ones: zeros stand there until ``fill_object_ids``.
"""

from __future__ import annotations

import re

from atoll.base.ids import ObjectId
from atoll.tree import erofs_format as fmt

_PLACE_SIZE = 66
_BLANK = bytes(_PLACE_SIZE)


def _head(name: bytes, size: int) -> bytes:
    index, rest = fmt.split_xattr_name(name)
    return fmt.XATTR.pack(len(rest), index, size) + rest


_METACOPY = _head(fmt.METACOPY, 36) + fmt.METACOPY_HEAD
_REDIRECT = _head(fmt.REDIRECT, _PLACE_SIZE)
_NAMED = re.compile(re.escape(_REDIRECT) + b"/([0-9a-f]{2})/([0-9a-f]{62})")
_BOTH = re.compile(re.escape(_METACOPY) + b"(.{32})" + re.escape(_REDIRECT) + b"(.{66})", re.DOTALL)


def find_objects(image: bytes | bytearray) -> tuple[ObjectId, ...]:
    """The objects that an image names, each once, in the order of the image.

    What only looks like the name of an object, in a link's target for one, is found too.
    """
    names = dict.fromkeys((each[1] + each[2]).decode() for each in _NAMED.finditer(image))
    return tuple(map(ObjectId, names))


def blank_object_ids(image: bytes) -> bytearray:
    """``image`` with zeros where ``fill_object_ids`` knows what was there."""
    out = bytearray(image)
    for each in _BOTH.finditer(image):
        if each[2] == _place(each[1]):
            out[each.start(2) : each.end(2)] = _BLANK
    return out


def fill_object_ids(image: bytearray) -> None:
    """Undo ``blank_object_ids``, in place."""
    for each in _BOTH.finditer(image):
        if each[2] == _BLANK:
            image[each.start(2) : each.end(2)] = _place(each[1])


def _place(digest: bytes) -> bytes:
    name = digest.hex()
    return f"/{name[:2]}/{name[2:]}".encode()
