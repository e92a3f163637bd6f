"""Which extended attributes mkcomposefs takes: a tree that it refuses has no digest here either.

Its limits are not those of the image. A line of a dump may hold so much text of attributes; those
that are given may have so much space, the worst padding counted. When it adds attributes of
overlayfs's to a node it begins to count at nothing, but subtracts one that was given and is
replaced, also where that was larger: below nothing it refuses, too ("Numerical result out of
range", composefs 1.0.8).
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


def fits_space(given: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a node may have these attributes at all."""
    pairs = tuple(given)
    return not pairs or XATTR_HEADER + sum(map(_size, pairs)) <= XATTR_SPACE_LIMIT


def require_space(path: bytes, given: Xattrs, renamed: Xattrs, added: Xattrs = ()) -> None:
    """Raises Damaged when mkcomposefs refuses the node at ``path``.

    ``renamed`` are the ``given`` ones after overlayfs's were escaped; ``added`` are what the image
    needs, in the order in which mkcomposefs sets them.
    """
    if not given:
        return
    text = sum(len(format_xattr(name, value)) + 1 for name, value in given) - 1
    if text > XATTR_TEXT_LIMIT or not fits_space(given) or not _can_add(renamed, added):
        raise Damaged(
            f"{quote_field(path)} has more extended attributes than composefs can hold",
            hint="remove some with setfattr -x; getfattr -d -m - lists them",
        )


def _can_add(renamed: Xattrs, added: Xattrs) -> bool:
    there = dict(renamed)
    space = 0
    for name, value in added:
        if name in there:
            old = there.pop(name)
            space = space - _size((name, old)) if there else 0
        space += _size((name, value)) + (0 if there else XATTR_HEADER)
        if not 0 <= space <= XATTR_SPACE_LIMIT:
            return False
        there[name] = value
    return True


def _size(pair: tuple[bytes, bytes]) -> int:
    return XATTR_ENTRY + len(pair[0]) + len(pair[1])
