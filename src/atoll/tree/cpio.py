"""Small cpio archives (newc) as the kernel unpacks an initrd: root's files, without times.

The kernel takes several archives one after the other, so one can be put before an initrd that is
the same on every machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_DIRECTORY = 0o040755
_FILE = 0o100644
_END = "TRAILER!!!"


def format_cpio(files: Mapping[str, bytes]) -> bytes:
    """An archive of ``files`` by their relative paths, with the directories above them."""
    paths = sorted(files)
    folders = sorted(
        {path[:at] for path in paths for at, character in enumerate(path) if character == "/"}
    )
    members = [_member(path, _DIRECTORY, b"", number) for number, path in enumerate(folders, 1)]
    members += [
        _member(path, _FILE, files[path], number)
        for number, path in enumerate(paths, len(folders) + 1)
    ]
    archive = b"".join(members) + _member(_END, 0, b"", 0)
    # The kernel looks for the next archive at a multiple of four bytes; 512 is what cpio writes.
    return _padded(archive, 512)


def _member(path: str, mode: int, content: bytes, number: int) -> bytes:
    name = path.encode() + b"\0"
    links = 2 if mode == _DIRECTORY else 1
    fields = (number, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + "".join(f"{field:08X}" for field in fields).encode()
    return _padded(header + name, 4) + _padded(content, 4)


def _padded(data: bytes, multiple: int) -> bytes:
    return data + bytes(-len(data) % multiple)
