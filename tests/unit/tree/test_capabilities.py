"""Privileged programs: found by mode and attribute, formatted as by getcap."""

from __future__ import annotations

import struct

import pytest

from atoll.tree.capabilities import CAPABILITY, find_privileged, format_capabilities
from atoll.tree.model import Directory, Metadata, Regular, Symlink

NET_RAW = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (NET_RAW, "cap_net_raw=ep"),
        (struct.pack("<5I", 0x02000000, 1 << 13, 1 << 13, 0, 0), "cap_net_raw=ip"),
        (
            struct.pack("<5I", 0x02000001, 0x21, 0, 1 << 8, 0),
            "cap_chown,cap_kill,cap_checkpoint_restore=ep",
        ),
        (struct.pack("<5I", 0x02000001, 1, 2, 0, 0), "cap_chown=ep cap_dac_override=ei"),
        (struct.pack("<6I", 0x03000001, 1 << 13, 0, 0, 0, 1000), "cap_net_raw=ep [root 1000]"),
        (struct.pack("<3I", 0x01000001, 1 << 13, 0), "cap_net_raw=ep"),
        (struct.pack("<5I", 0x02000001, 0, 0, 1 << 31, 0), "cap_63=ep"),
        (b"", "capabilities:none"),
        (b"\1\0\0\7", "capabilities:01000007"),
        (NET_RAW[:-1], "capabilities:" + NET_RAW[:-1].hex()),
    ],
)
def test_capabilities(value: bytes, text: str) -> None:
    assert format_capabilities(value) == text


def test_what_is_privileged() -> None:
    def file(mode: int, *xattrs: tuple[bytes, bytes]) -> Regular:
        return Regular(Metadata(mode=mode, uid=0, gid=7, xattrs=xattrs), 0)

    tree = Directory(
        Metadata(mode=0o755),
        {
            b"both": file(0o6755),
            b"cap": file(0o755, (CAPABILITY, NET_RAW)),
            b"link": Symlink(Metadata(mode=0o7777), b"both"),
            b"plain": file(0o1755),
            b"shared": Directory(Metadata(mode=0o2775), {b"group": file(0o2711)}),
        },
    )
    assert find_privileged(tree) == {
        b"/both": "setuid setgid 6755 0:7",
        b"/cap": "cap_net_raw=ep 0755 0:7",
        b"/shared/group": "setgid 2711 0:7",
    }
