"""What of an image is signed for Secure Boot: its boot loader, its kernel, and its modules.

Which key made a signature, and whether a firmware accepts it, is not looked at.
"""

from __future__ import annotations

import lzma
import os
from typing import TYPE_CHECKING

from atoll.image.read_file import read_content
from atoll.store.objects import open_object
from atoll.store.tree_images import read_image_bytes
from atoll.tree.erofs_reader import parse_below
from atoll.tree.model import Directory, Regular
from atoll.tree.pe import HEAD, has_signature

if TYPE_CHECKING:
    from atoll.image.bootable import BootableImage

_MODULE_MARK = b"~Module signature appended~\n"
"""The last bytes of a signed kernel module."""
_PART = 1 << 20
_LARGEST_MODULE = 1 << 30
"""Bytes; NVIDIA's, with all that debuggers want, has 100 MB."""
_MOST_MEMORY = 128 << 20
"""Bytes; xz -9 needs 65 MiB."""


def is_kernel_signed(image: BootableImage) -> bool:
    """Raises Damaged."""
    handle = open_object(image.store, image.kernel_pair.linux)
    try:
        return bool(has_signature(os.pread(handle, HEAD, 0)))
    finally:
        os.close(handle)


def find_unsigned_modules(image: BootableImage) -> tuple[str, ...]:
    """The names of the modules that DKMS built into the image and nobody signed; Debian signs all
    that its kernel packages contain. Raises Damaged."""
    place = f"usr/lib/modules/{image.kernel}/updates/dkms"
    folder = parse_below(read_image_bytes(image.store, image.tree), place.encode())
    if not isinstance(folder, Directory):
        return ()
    return tuple(
        text.partition(".ko")[0]
        for name, node in sorted(folder.entries.items())
        if isinstance(node, Regular)
        and ".ko" in (text := name.decode(errors="replace"))
        and not is_module_signed(text, read_content(image.store, node, f"{place}/{text}"))
    )


def is_module_signed(name: str, content: bytes) -> bool:
    """Whether a module of this file name is signed, also where it is compressed by xz, as Debian's
    are. What cannot be decompressed, or is too large, the kernel does not load either."""
    if name.endswith(".xz"):
        try:
            content = _last_bytes(content)
        except lzma.LZMAError:
            return False
    return content.endswith(_MODULE_MARK)


def _last_bytes(packed: bytes) -> bytes:
    """The end of what is decompressed: a small file can hold gigabytes. Raises LZMAError."""
    decompressor = lzma.LZMADecompressor(memlimit=_MOST_MEMORY)
    end, size = b"", 0
    while not decompressor.eof:
        part = decompressor.decompress(packed, _PART)
        packed, size = b"", size + len(part)
        if size > _LARGEST_MODULE or (not part and decompressor.needs_input):
            raise lzma.LZMAError("too large, or cut")
        end = (end + part)[-len(_MODULE_MARK) :]
    return end
