"""A machine's own small initrd on its ESP, unpacked before that of the deployment.

A deployment's initrd is part of its tree, and so the same on every machine. What early boot needs
of one machine before it can open the state partition is in a second one, which the boot entry names
first. Today that is the keyboard's layout, for the passphrase::

    atoll/machine/<SHA-256 of the file>.img      a cpio archive: etc/atoll/keyboard.kmap

It is never overwritten: another layout gives another file, and an entry keeps the one it was
written with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.ids import is_hex_digest
from atoll.tree.cpio import format_cpio

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "atoll/machine"
SUFFIX = ".img"
KEYMAP = "etc/atoll/keyboard.kmap"
"""Where early boot finds the layout (atoll-keyboard.service)."""
LIMIT = 16 << 20
"""Bytes: no such initrd is larger."""


def make_machine_initrd(keymap: bytes) -> bytes:
    """``keymap`` is text for loadkeys. Empty when nothing has to be in it."""
    return format_cpio({KEYMAP: keymap}) if keymap else b""


def initrd_name(content: bytes) -> str:
    from hashlib import sha256  # `status` reads names only, and need not wait for OpenSSL

    return sha256(content).hexdigest() + SUFFIX


def is_initrd_name(name: str) -> bool:
    return name.endswith(SUFFIX) and is_hex_digest(name.removesuffix(SUFFIX))


def find_initrd_name(path: str) -> str | None:
    """The file's name in the path of a boot entry; None for a path that Atoll never writes."""
    name = path.removeprefix(f"/{FOLDER}/")
    return name if is_initrd_name(name) and path != name else None


def initrd_place(esp: Path, name: str) -> Path:
    return esp / FOLDER / name
