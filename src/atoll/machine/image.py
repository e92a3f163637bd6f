"""What a machine needs to know of a tree before it can boot it, read from the tree itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, assert_never

from atoll.base.errors import Damaged, Refused
from atoll.base.ids import TreeId, is_hex_digest
from atoll.registry.layout import read_layout
from atoll.registry.reference import (
    ArchiveReference,
    LayoutReference,
    RegistryReference,
    StoreReference,
    parse_reference,
)
from atoll.store.images import read_image
from atoll.store.objects import read_object
from atoll.store.refs import read_ref
from atoll.tree.model import Directory, Regular, walk

if TYPE_CHECKING:
    from atoll.base.ids import ObjectId
    from atoll.base.report import Reporter
    from atoll.store.layout import Store

FACTS = b"usr/lib/atoll/image.json"
RECIPE = b"usr/lib/atoll/recipe.toml"
LOCK = b"usr/lib/atoll/recipe.lock"
LOADERS = {"amd64": "x64", "arm64": "aa64"}
"""Debian architectures that can boot, and how UEFI calls them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootableImage:
    """A tree in a store, and what of it goes elsewhere than into the store of a machine.

    ``loader`` is systemd-boot as the tree has it, empty when it has none; ``objects`` maps the
    tree's objects to their sizes.
    """

    tree: TreeId
    name: str
    version: str
    kernel: str
    arguments: tuple[str, ...]
    efi_name: str
    linux: bytes
    initrd: bytes
    loader: bytes
    recipe: bytes
    lock: bytes
    image_size: int
    objects: dict[ObjectId, int]

    @property
    def pair(self) -> str:
        """The digest of kernel and initrd together."""
        parts = sha256(self.linux).digest() + sha256(self.initrd).digest()
        return sha256(parts).hexdigest()


def find_image(text: str, store: Store, reporter: Reporter) -> TreeId:
    """The tree that a person's ``text`` means, in ``store`` when this returns.

    A tree digest, ``store:NAME`` or ``oci:DIR[:TAG]``.
    """
    if is_hex_digest(text):
        return TreeId(text)
    match parse_reference(text):
        case StoreReference(name=name):
            return read_ref(store, name).tree
        case LayoutReference() as layout:
            return read_layout(layout, store, reporter).tree
        case ArchiveReference() | RegistryReference():
            raise Refused(
                f"{text} cannot be installed from there",
                hint="copy it into a directory first: skopeo copy … oci:DIR:TAG",
            )
        case other:
            assert_never(other)


def read_bootable(store: Store, tree: TreeId) -> BootableImage:
    """Raises NotFound or Damaged, or Refused for a tree that is not made to boot."""
    root = read_image(store, tree)
    facts = _parse_facts(_content(store, root, FACTS) or b"", tree)
    modules = b"usr/lib/modules/" + facts.kernel.encode()
    linux = _content(store, root, modules + b"/vmlinuz")
    initrd = _content(store, root, modules + b"/initrd")
    if not linux or not initrd:
        raise _not_bootable(tree, f"it has no kernel and initrd for {facts.kernel}")
    loader = f"usr/lib/systemd/boot/efi/systemd-boot{facts.efi_name}.efi".encode()
    nodes = (node for _, node in walk(root))
    return BootableImage(
        tree=tree,
        name=facts.name,
        version=facts.version,
        kernel=facts.kernel,
        arguments=facts.arguments,
        efi_name=facts.efi_name,
        linux=linux,
        initrd=initrd,
        loader=_content(store, root, loader) or b"",
        recipe=_content(store, root, RECIPE) or b"",
        lock=_content(store, root, LOCK) or b"",
        image_size=store.image_path(tree).stat().st_size,
        objects={node.object: node.size
                 for node in nodes if isinstance(node, Regular) and node.object},
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    name: str
    version: str
    kernel: str
    efi_name: str
    arguments: tuple[str, ...]


def _parse_facts(data: bytes, tree: TreeId) -> _Facts:
    try:
        document = json.loads(data)
        name, version, kernel, architecture = (
            str(document[key]) for key in ("name", "version", "kernel", "architecture")
        )
        arguments = tuple(str(word) for word in document["args"])
    except (ValueError, KeyError, TypeError) as error:
        raise _not_bootable(tree, f"/{FACTS.decode()} does not say what it is") from error
    if architecture not in LOADERS:
        raise _not_bootable(tree, f"its architecture {architecture} has no boot loader here")
    return _Facts(name=name, version=version, kernel=kernel,
                  efi_name=LOADERS[architecture], arguments=arguments)  # fmt: skip


def _not_bootable(tree: TreeId, why: str) -> Refused:
    return Refused(f"tree {tree} cannot boot: {why}", hint="make it with: atoll build")


def _content(store: Store, root: Directory, path: bytes) -> bytes | None:
    node: object = root
    for name in path.split(b"/"):
        if not isinstance(node, Directory):
            return None
        node = node.entries.get(name)
    if not isinstance(node, Regular):
        return None
    if node.object is None:
        return node.inline or b""
    data = read_object(store, node.object)
    if len(data) != node.size:
        raise Damaged(f"/{path.decode()} in the tree has {node.size} bytes, its object {len(data)}")
    return data
