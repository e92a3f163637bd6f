"""What a machine needs to know of a tree before it can boot it, read from the tree itself."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, Refused
from atoll.base.fields import Flaw, parse_json_fields
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
    from atoll.store.layout import Store

LONGEST = 200
"""Characters of an image's name, version and title: they stand in a boot entry of 512 bytes, in the
menu and in refs."""
_KERNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9+.~_-]{0,199}")
LOADERS = {"amd64": "x64", "arm64": "aa64"}
"""Debian architectures that can boot, and how UEFI calls them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelPair:
    """Kernel and initrd of a tree, as objects; sizes are bytes."""

    linux: ObjectId
    initrd: ObjectId
    linux_size: int
    initrd_size: int
    digest: str
    """SHA-256 of both SHA-256: what their directory on the ESP is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootableImage:
    """A tree in a store, and what of it goes elsewhere than into the store of a machine.

    ``loader`` is systemd-boot as the tree has it, empty when it has none. ``title`` is what the
    boot menu calls it, empty for its name; ``timeout`` is how many seconds the menu of a new
    machine shows, None where the image does not say.
    """

    store: Store
    tree: TreeId
    name: str
    version: str
    kernel: str
    arguments: tuple[str, ...]
    efi_name: str
    kernel_pair: KernelPair
    loader: bytes
    recipe: bytes
    lock: bytes
    title: str = ""
    timeout: int | None = None

    @property
    def pair(self) -> str:
        return self.kernel_pair.digest


def read_bootable(store: Store, tree: TreeId) -> BootableImage:
    """Raises NotFound or Damaged, or Refused for a tree that is not made to boot."""
    image = read_image_bytes(store, tree)
    facts = check_facts(read_image_file(store, image, IMAGE_INFO) or b"", tree)
    modules = f"usr/lib/modules/{facts.kernel}"
    linux = parse_below(image, f"{modules}/vmlinuz".encode())
    initrd = parse_below(image, f"{modules}/initrd".encode())
    if not isinstance(linux, Regular) or not isinstance(initrd, Regular):
        raise _not_bootable(tree, f"it has no kernel and initrd for {facts.kernel}")
    if linux.object is None or initrd.object is None:
        raise _not_bootable(tree, f"its kernel or initrd for {facts.kernel} is empty")
    parts = [_sha256(store, linux.object), _sha256(store, initrd.object)]
    loader = f"usr/lib/systemd/boot/efi/systemd-boot{facts.efi_name}.efi"
    return BootableImage(
        store=store,
        tree=tree,
        name=facts.name,
        version=facts.version,
        kernel=facts.kernel,
        arguments=facts.arguments,
        efi_name=facts.efi_name,
        kernel_pair=KernelPair(
            linux=linux.object,
            initrd=initrd.object,
            linux_size=linux.size,
            initrd_size=initrd.size,
            digest=sha256(b"".join(parts)).hexdigest(),
        ),
        loader=read_image_file(store, image, loader) or b"",
        recipe=read_image_file(store, image, RECIPE) or b"",
        lock=read_image_file(store, image, LOCK) or b"",
        title=facts.title,
        timeout=facts.timeout,
    )


def objects_of(store: Store, tree: TreeId) -> dict[ObjectId, int]:
    """All objects of a tree with their sizes."""
    nodes = (node for _, node in walk(read_image(store, tree)))
    return {node.object: node.size for node in nodes if isinstance(node, Regular) and node.object}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    name: str
    version: str
    kernel: str
    efi_name: str
    arguments: tuple[str, ...]
    title: str
    timeout: int | None


def check_facts(data: bytes, tree: TreeId) -> _Facts:
    """What ``image.json`` says. Raises Refused for a tree that cannot boot by it."""
    try:
        fields = parse_json_fields(data, file=f"/{IMAGE_INFO}")
        name, version = fields.line("name", most=LONGEST), fields.line("version", most=LONGEST)
        kernel = fields.string("kernel", check=_check_kernel)
        architecture = fields.string("architecture")
        arguments = fields.strings("args")
        title = fields.string("title") if fields.table.get("title") is not None else ""
        timeout = fields.number("timeout") if fields.table.get("timeout") is not None else None
    except Damaged as error:
        raise _not_bootable(tree, error.message) from error
    _check_arguments(arguments, tree)
    if architecture not in LOADERS:
        raise _not_bootable(tree, f"its architecture {architecture} has no boot loader here")
    return _Facts(
        name=name,
        version=version,
        kernel=kernel,
        efi_name=LOADERS[architecture],
        arguments=arguments,
        title=title if title.isprintable() and len(title) <= LONGEST else "",
        timeout=timeout,
    )


def _check_arguments(arguments: Iterable[str], tree: TreeId) -> None:
    """An image may not say what boots, nor break the command line by an open quote."""
    whole = " ".join(arguments)
    if len(whole) > cmdline.LONGEST:
        raise _not_bootable(tree, f"its kernel arguments have {len(whole)} characters")
    for each in arguments:
        name = cmdline.find_reserved(each)
        if name is not None:
            raise _not_bootable(tree, f"its kernel argument {each[:80]!r} sets {name}")
        if not cmdline.is_argument(each):
            raise _not_bootable(tree, f"{each[:80]!r} is not a kernel argument")


def _check_kernel(version: str) -> Flaw | None:
    """It is part of a path in the tree."""
    return None if _KERNEL.fullmatch(version) else Flaw("is no version of a kernel")


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
