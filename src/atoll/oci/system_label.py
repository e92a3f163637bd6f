"""The package list and kernel of a system image, available before any layer is fetched.

The field ``dev.atoll.system`` of an image's config; a tree has the same data in /usr/lib/atoll::

    {"esp": 23400000, "kernel": "6.12.48-amd64",
     "packages": {"bash": "5.2.37-2", "libc6:i386": "2.41-12"}}

``packages.json`` of a tree lists ``[name, version, architecture]``. ``esp`` is the size of kernel
and initrd together, in bytes. Names of packages of a foreign architecture include it. Images built
before November 2026 have the same JSON as the text of a label with the same name; it is read too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.base.json import parse_json
from atoll.base.text import is_one_line
from atoll.image.info import parse_info_fields
from atoll.image.packages import parse_package_list
from atoll.image.paths import IMAGE_INFO, PACKAGES
from atoll.image.read_file import read_image_file
from atoll.store.tree_images import read_image_bytes
from atoll.tree.erofs_reader import parse_below
from atoll.tree.model import Regular

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atoll.base.ids import TreeId
    from atoll.store.layout import Store

MAX_PACKAGES = 100_000
MAX_ESP = 1 << 40
_KERNEL = re.compile(r"[A-Za-z0-9.+:~_-]{1,128}")
"""A kernel release (``uname -r``), which becomes part of paths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemLabel:
    """The kernel's release, bytes needed on the ESP, and versions of packages by name."""

    kernel: str
    esp: int
    packages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageChanges:
    """Packages sorted by name, with versions; ``changed`` has the version before and after."""

    added: tuple[tuple[str, str], ...] = ()
    removed: tuple[tuple[str, str], ...] = ()
    changed: tuple[tuple[str, str, str], ...] = ()


def format_system(system: SystemLabel) -> dict[str, object]:
    """The JSON value of the label."""
    return {"esp": system.esp, "kernel": system.kernel, "packages": dict(system.packages)}


def parse_system(found: object, *, where: str) -> SystemLabel:
    """Parse the label: a JSON object, or its text as in older images. Raises Damaged."""
    document = parse_json(found, where=f"{where}: its label") if isinstance(found, str) else found
    if not isinstance(document, dict):
        raise Damaged(f"{where}: it has another format")
    kernel, esp, packages = (document.get(key) for key in ("kernel", "esp", "packages"))
    if not isinstance(kernel, str) or not _KERNEL.fullmatch(kernel):
        raise Damaged(f"{where}: it has another format")
    if type(esp) is not int or not 0 <= esp < MAX_ESP:
        raise Damaged(f"{where}: it has another format")
    if not isinstance(packages, dict) or len(packages) > MAX_PACKAGES or not _are_names(packages):
        raise Damaged(f"{where}: its packages are not names with versions")
    return SystemLabel(kernel=kernel, esp=esp, packages=packages)


def parse_packages(info: bytes, package_list: bytes, *, where: str) -> dict[str, str]:
    """Versions by package name, from ``image.json`` and ``packages.json`` of a tree.

    Raises Damaged.
    """
    native = parse_info_fields(info, where=where).get("architecture")
    packages = parse_package_list(
        package_list,
        native=native if isinstance(native, str) else None,
        where=f"{where}: packages.json",
    )
    if not _are_names(packages):
        raise Damaged(f"{where}: packages.json has invalid package names")
    return packages


def read_system_label(store: Store, tree: TreeId) -> SystemLabel | None:
    """The label of a tree in the store; None for a tree without a kernel. Raises Damaged."""
    image = read_image_bytes(store, tree)
    info = read_image_file(store, image, IMAGE_INFO) or b"{}"
    package_list = read_image_file(store, image, PACKAGES) or b"[]"
    packages = parse_packages(info, package_list, where=f"tree {tree}")
    kernel = parse_info_fields(info, where=f"tree {tree}").get("kernel", "")
    if not isinstance(kernel, str):
        raise Damaged(f"tree {tree}: image.json: kernel: must be a string")
    kernel_files = [
        parse_below(image, f"usr/lib/modules/{kernel}/{name}".encode())
        for name in ("vmlinuz", "initrd")
    ]
    sizes = [node.size for node in kernel_files if isinstance(node, Regular)]
    if not kernel or len(sizes) != len(kernel_files):
        return None
    return SystemLabel(kernel=kernel, esp=sum(sizes), packages=packages)


def compare_packages(before: Mapping[str, str], after: Mapping[str, str]) -> PackageChanges:
    """The differences between two sets of packages, sorted by name."""
    return PackageChanges(
        added=tuple((name, after[name]) for name in sorted(after.keys() - before.keys())),
        removed=tuple((name, before[name]) for name in sorted(before.keys() - after.keys())),
        changed=tuple(
            (name, before[name], after[name])
            for name in sorted(before.keys() & after.keys())
            if before[name] != after[name]
        ),
    )


def _are_names(packages: Mapping[str, object]) -> bool:
    """Whether names and versions are single lines of text: they are shown to people."""
    pairs = (each for pair in packages.items() for each in pair)
    return all(isinstance(each, str) and is_one_line(each) for each in pairs)
