"""POSIX access control lists: from the extended attribute to the short text form of acl(5).

The attribute's format is that of ``include/uapi/linux/posix_acl_xattr.h``: a version (u32), then
entries of tag (u16), permissions (u16) and id (u32), all little-endian.
"""

from __future__ import annotations

import struct

ACL_NAMES = {"system.posix_acl_access": "", "system.posix_acl_default": "default:"}
"""The extended attributes, and the prefix of each entry's text."""
_HEADER = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_TAGS = {0x01: "user", 0x02: "user", 0x04: "group", 0x08: "group", 0x10: "mask", 0x20: "other"}
_NAMED = (0x02, 0x08)


def format_acl(value: bytes, *, prefix: str = "") -> str:
    """The entries of an ACL attribute, with numeric ids, separated by commas."""
    entries = []
    for tag, bits, number in _ENTRY.iter_unpack(value[_HEADER.size :]):
        who = str(number) if tag in _NAMED else ""
        rights = "".join(c if bits & bit else "-" for c, bit in zip("rwx", (4, 2, 1), strict=True))
        entries.append(f"{prefix}{_TAGS[tag]}:{who}:{rights}")
    return ",".join(entries)
