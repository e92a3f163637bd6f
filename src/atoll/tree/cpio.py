"""Write small cpio archives (format newc) for the kernel to unpack as an initrd.

All files belong to root and have no mtime. The kernel unpacks several concatenated archives, so a
machine's own archive can precede an initrd that is the same on all machines. See
Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_DIRECTORY = 0o040755
_FILE = 0o100644
_END = "TRAILER!!!"


def format_cpio(files: Mapping[str, bytes]) -> bytes:
    """An archive of ``files`` (content by relative path) with their parent directories."""
    paths = sorted(files)
    directories = sorted(
        {path[:at] for path in paths for at, character in enumerate(path) if character == "/"}
    )
    members = [_member(path, _DIRECTORY, b"", number) for number, path in enumerate(directories, 1)]
    members += [
        _member(path, _FILE, files[path], number)
        for number, path in enumerate(paths, len(directories) + 1)
    ]
    archive = b"".join(members) + _member(_END, 0, b"", 0)
    # The kernel expects the next archive at a multiple of four bytes; cpio itself pads to 512.
    return _padded(archive, 512)


def _member(path: str, mode: int, content: bytes, number: int) -> bytes:
    name = path.encode() + b"\0"
    links = 2 if mode == _DIRECTORY else 1
    fields = (number, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + "".join(f"{field:08X}" for field in fields).encode()
    return _padded(header + name, 4) + _padded(content, 4)


def _padded(data: bytes, multiple: int) -> bytes:
    return data + bytes(-len(data) % multiple)
