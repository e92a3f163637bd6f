"""Find the object ids in the bytes of a composefs image, and remove redundant ones for transfer.

The image has the digest of each file in the object store as 32 bytes (``metacopy``) and as 64 hex
digits in a path (``redirect``). The two attributes are adjacent unless several inodes share them.
Digests do not compress, so images are transferred without the second copy: ``blank_object_ids``
replaces it by zeros, ``fill_object_ids`` restores it.
"""

from __future__ import annotations

import re

from atoll.base.ids import ObjectId
from atoll.tree import erofs_format as fmt

_PATH_SIZE = 66
_BLANK = bytes(_PATH_SIZE)


def _head(name: bytes, size: int) -> bytes:
    index, rest = fmt.split_xattr_name(name)
    return fmt.XATTR.pack(len(rest), index, size) + rest


_METACOPY = _head(fmt.METACOPY, 36) + fmt.METACOPY_HEAD
_REDIRECT = _head(fmt.REDIRECT, _PATH_SIZE)
_REDIRECT_VALUE = re.compile(re.escape(_REDIRECT) + b"/([0-9a-f]{2})/([0-9a-f]{62})")
_METACOPY_AND_REDIRECT = re.compile(
    re.escape(_METACOPY) + b"(.{32})" + re.escape(_REDIRECT) + b"(.{66})", re.DOTALL
)


def find_objects(image: bytes | bytearray) -> tuple[ObjectId, ...]:
    """The ids of all objects that an image refers to, each once, in the order of the image.

    May contain false positives: bytes that look like a ``redirect`` attribute, such as in a link
    target.
    """
    names = dict.fromkeys((each[1] + each[2]).decode() for each in _REDIRECT_VALUE.finditer(image))
    return tuple(map(ObjectId, names))


def blank_object_ids(image: bytes) -> bytearray:
    """``image`` with zeros for each path that ``fill_object_ids`` can restore."""
    out = bytearray(image)
    for each in _METACOPY_AND_REDIRECT.finditer(image):
        if each[2] == _object_path(each[1]):
            out[each.start(2) : each.end(2)] = _BLANK
    return out


def fill_object_ids(image: bytearray) -> None:
    """Undo ``blank_object_ids`` in place."""
    for each in _METACOPY_AND_REDIRECT.finditer(image):
        if each[2] == _BLANK:
            image[each.start(2) : each.end(2)] = _object_path(each[1])


def _object_path(digest: bytes) -> bytes:
    name = digest.hex()
    return f"/{name[:2]}/{name[2:]}".encode()
