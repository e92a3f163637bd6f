"""Refuse extended attributes that mkcomposefs 1.0.8 refuses, so that both accept the same trees.

Its limits are not those of the image format. It limits the text of all attributes in a dump line,
and the space of a node's attributes, each with the largest padding. When it adds attributes for
overlayfs to a node, it starts counting at zero, but subtracts the size of an original attribute
that it replaces. If that one was larger, the count becomes negative, which it refuses, too
("Numerical result out of range").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.tree.dumpfields import (
    XATTR_ENTRY,
    XATTR_HEADER,
    XATTR_SPACE_LIMIT,
    XATTR_TEXT_LIMIT,
    format_xattr,
    quote_field,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atoll.tree.model import Xattrs


def fits_space(xattrs: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a node may have these attributes, before any are added."""
    pairs = tuple(xattrs)
    return not pairs or XATTR_HEADER + sum(map(_size, pairs)) <= XATTR_SPACE_LIMIT


def require_space(path: bytes, original: Xattrs, escaped: Xattrs, added: Xattrs = ()) -> None:
    """Raises Damaged if mkcomposefs refuses the node at ``path``.

    ``escaped`` is ``original`` with overlay attributes escaped; ``added`` is what the image needs,
    in the order in which mkcomposefs sets it.
    """
    if not original:
        return
    text = sum(len(format_xattr(name, value)) + 1 for name, value in original) - 1
    if text > XATTR_TEXT_LIMIT or not fits_space(original) or not _can_add(escaped, added):
        raise Damaged(
            f"{quote_field(path)} has more extended attributes than composefs can hold",
            hint="remove some with setfattr -x; getfattr -d -m - lists them",
        )


def _can_add(escaped: Xattrs, added: Xattrs) -> bool:
    """Follows mkcomposefs's counting, with its quirks."""
    current = dict(escaped)
    space = 0
    for name, value in added:
        if name in current:
            old = current.pop(name)
            space = space - _size((name, old)) if current else 0
        space += _size((name, value)) + (0 if current else XATTR_HEADER)
        if not 0 <= space <= XATTR_SPACE_LIMIT:
            return False
        current[name] = value
    return True


def _size(pair: tuple[bytes, bytes]) -> int:
    return XATTR_ENTRY + len(pair[0]) + len(pair[1])
