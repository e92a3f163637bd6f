"""Programs that UEFI firmware starts (PE32+, also a Linux kernel): whether they carry a signature.

Only that one is there: which key made it, and whether this firmware accepts it, the firmware says.
"""

from __future__ import annotations

import struct

HEAD = 4096
"""Bytes at the begin of a program that are enough to know."""
_PE32_PLUS = 0x20B
_SECURITY = 4
"""The number of the certificate table among the data directories."""


def has_signature(head: bytes) -> bool | None:
    """None for what is no such program, or is cut off."""
    try:
        if head[:2] != b"MZ":
            return None
        (start,) = struct.unpack_from("<I", head, 0x3C)
        if head[start : start + 4] != b"PE\0\0":
            return None
        optional = start + 24
        (magic,) = struct.unpack_from("<H", head, optional)
        (directories,) = struct.unpack_from("<I", head, optional + 108)
        if magic != _PE32_PLUS:
            return None
        if directories <= _SECURITY:
            return False
        _, size = struct.unpack_from("<II", head, optional + 112 + 8 * _SECURITY)
    except struct.error:
        return None
    return bool(size)
