"""The parts of a tree that a machine needs to boot it: kernel, initrd, boot loader, arguments."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, Refused
from atoll.image.info import parse_image_info
from atoll.image.paths import IMAGE_INFO, LOCK, RECIPE
from atoll.image.read_file import read_image_file
from atoll.store.objects import open_object, read_chunks
from atoll.store.tree_images import read_image, read_image_bytes
from atoll.tree import cmdline
from atoll.tree.erofs_reader import parse_below
from atoll.tree.model import Regular, walk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atoll.base.ids import ObjectId, TreeId
    from atoll.image.info import ImageInfo
    from atoll.store.layout import Store

LOADERS = {"amd64": "x64", "arm64": "aa64"}
"""Debian architectures that can boot → the suffix of their UEFI programs (``BOOTx64.EFI``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelPair:
    """Kernel and initrd of a tree, as objects; sizes in bytes."""

    linux: ObjectId
    initrd: ObjectId
    linux_size: int
    initrd_size: int
    digest: str
    """SHA-256 of the two SHA-256 digests; the name of their directory on the ESP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootLoader:
    """systemd-boot, and Debian's shim with its MokManager, each empty if the tree has none.

    Firmware that knows Microsoft's key starts shim under Secure Boot, and shim starts what Debian
    signed. So shim is only here where systemd-boot has a signature.
    """

    efi_name: str
    """As in ``BOOTx64.EFI``."""
    program: bytes
    shim: bytes = b""
    mok_manager: bytes = b""

    @property
    def size(self) -> int:
        """Bytes of all files in one directory of the ESP at most; they are in two directories."""
        copies = 2 if self.shim else 1
        return copies * len(self.program) + len(self.shim) + len(self.mok_manager)


@dataclass(frozen=True, slots=True, kw_only=True)
class BootableImage:
    """A tree in a store, and the parts of it that a machine keeps outside of its store.

    ``title`` is the name in the boot menu, empty to use ``name``; ``timeout`` is that of the menu
    in seconds on a new machine, None if the image does not set it.
    """

    store: Store
    tree: TreeId
    name: str
    version: str
    kernel: str
    arguments: tuple[str, ...]
    kernel_pair: KernelPair
    loader: BootLoader
    recipe: bytes
    lock: bytes
    title: str = ""
    timeout: int | None = None

    @property
    def efi_name(self) -> str:
        return self.loader.efi_name

    @property
    def pair(self) -> str:
        """The name of the directory on the ESP for kernel and initrd."""
        return self.kernel_pair.digest


def read_bootable(store: Store, tree: TreeId) -> BootableImage:
    """Read a tree's boot files. Raises NotFound or Damaged, or Refused if it cannot boot."""
    image = read_image_bytes(store, tree)
    info = require_bootable(read_image_file(store, image, IMAGE_INFO) or b"", tree)
    modules = f"usr/lib/modules/{info.kernel}"
    linux = parse_below(image, f"{modules}/vmlinuz".encode())
    initrd = parse_below(image, f"{modules}/initrd".encode())
    if not isinstance(linux, Regular) or not isinstance(initrd, Regular):
        raise _not_bootable(tree, f"it has no kernel and initrd for {info.kernel}")
    if linux.object is None or initrd.object is None:
        raise _not_bootable(tree, f"its kernel or initrd for {info.kernel} is empty")
    parts = [_sha256(store, linux.object), _sha256(store, initrd.object)]
    return BootableImage(
        store=store,
        tree=tree,
        name=info.name,
        version=info.version,
        kernel=info.kernel,
        arguments=info.args,
        kernel_pair=KernelPair(
            linux=linux.object,
            initrd=initrd.object,
            linux_size=linux.size,
            initrd_size=initrd.size,
            digest=sha256(b"".join(parts)).hexdigest(),
        ),
        loader=_read_loader(store, image, LOADERS[info.architecture]),
        recipe=read_image_file(store, image, RECIPE) or b"",
        lock=read_image_file(store, image, LOCK) or b"",
        title=info.title or "",
        timeout=info.timeout,
    )


def _read_loader(store: Store, image: bytes, efi_name: str) -> BootLoader:
    """The signed one, where the package systemd-boot-efi-…-signed is in the tree."""

    def read(path: str) -> bytes:
        return read_image_file(store, image, path) or b""

    plain = f"usr/lib/systemd/boot/efi/systemd-boot{efi_name}.efi"
    signed = read(f"{plain}.signed")
    if not signed:
        return BootLoader(efi_name=efi_name, program=read(plain))
    shim = read(f"usr/lib/shim/shim{efi_name}.efi.signed")
    manager = read(f"usr/lib/shim/mm{efi_name}.efi.signed") if shim else b""
    return BootLoader(efi_name=efi_name, program=signed, shim=shim, mok_manager=manager)


def objects_of(store: Store, tree: TreeId) -> dict[ObjectId, int]:
    """All objects of a tree with their sizes."""
    nodes = (node for _, node in walk(read_image(store, tree)))
    return {node.object: node.size for node in nodes if isinstance(node, Regular) and node.object}


def require_bootable(data: bytes, tree: TreeId) -> ImageInfo:
    """Parse the ``image.json`` of ``tree``. Raises Refused if a machine cannot boot it."""
    try:
        info = parse_image_info(data)
    except Damaged as error:
        raise _not_bootable(tree, error.message) from error
    _check_arguments(info.args, tree)
    if info.architecture not in LOADERS:
        raise _not_bootable(tree, f"its architecture {info.architecture} has no boot loader here")
    return info


def _check_arguments(arguments: Iterable[str], tree: TreeId) -> None:
    """Refuse arguments that select what boots, or break the command line by an open quote."""
    whole = " ".join(arguments)
    if len(whole) > cmdline.LONGEST:
        raise _not_bootable(tree, f"its kernel arguments have {len(whole)} characters")
    for each in arguments:
        name = cmdline.find_reserved(each)
        if name is not None:
            raise _not_bootable(tree, f"its kernel argument {each[:80]!r} sets {name}")
        if not cmdline.is_argument(each):
            raise _not_bootable(tree, f"{each[:80]!r} is not a kernel argument")


def _not_bootable(tree: TreeId, why: str) -> Refused:
    return Refused(f"tree {tree} cannot boot: {why}", hint="make it with: atoll build")


def _sha256(store: Store, name: ObjectId) -> bytes:
    hasher = sha256()
    handle = open_object(store, name)
    try:
        for chunk in read_chunks(handle):
            hasher.update(chunk)
    finally:
        os.close(handle)
    return hasher.digest()
