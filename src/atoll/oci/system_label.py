"""What a system image says of itself before any layer is fetched: its packages, its kernel.

The field ``dev.atoll.system`` of an image's config; a tree has the same in ``/usr/lib/atoll``::

    {"esp": 23400000, "kernel": "6.12.48-amd64",
     "packages": {"bash": "5.2.37-2", "libc6:i386": "2.41-12"}}

``packages.json`` of a tree lists ``[name, version, architecture]``. ``esp`` is what kernel and
initrd take together, in bytes. Packages of another architecture have it in their name. Images made
before November 2026 carry it as the text of a label of the same name, which is read as well.
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
"""The release of a kernel, which is part of paths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemLabel:
    kernel: str
    esp: int
    packages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageChanges:
    """Names with versions, by name; ``changed`` has the version before and after."""

    added: tuple[tuple[str, str], ...] = ()
    removed: tuple[tuple[str, str], ...] = ()
    changed: tuple[tuple[str, str, str], ...] = ()


def facts_as_json(facts: SystemLabel) -> dict[str, object]:
    return {"esp": facts.esp, "kernel": facts.kernel, "packages": dict(facts.packages)}


def parse_facts(found: object, *, where: str) -> SystemLabel:
    """From the JSON object itself, or from its text as older images have it. Raises Damaged."""
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


def parse_packages(said: bytes, listed: bytes, *, where: str) -> dict[str, str]:
    """Names with versions, from ``image.json`` and ``packages.json`` of a tree. Raises Damaged."""
    own = parse_info_fields(said, where=where).get("architecture")
    packages = parse_package_list(
        listed, native=own if isinstance(own, str) else None, where=f"{where}: packages.json"
    )
    if not _are_names(packages):
        raise Damaged(f"{where}: packages.json has invalid package names")
    return packages


def read_facts(store: Store, tree: TreeId) -> SystemLabel | None:
    """What a tree of the store says itself; None for one that does not boot. Raises Damaged."""
    image = read_image_bytes(store, tree)
    said = read_image_file(store, image, IMAGE_INFO) or b"{}"
    listed = read_image_file(store, image, PACKAGES) or b"[]"
    packages = parse_packages(said, listed, where=f"tree {tree}")
    kernel = parse_info_fields(said, where=f"tree {tree}").get("kernel", "")
    if not isinstance(kernel, str):
        raise Damaged(f"tree {tree}: image.json: kernel: must be a string")
    parts = [
        parse_below(image, f"usr/lib/modules/{kernel}/{name}".encode())
        for name in ("vmlinuz", "initrd")
    ]
    sizes = [part.size for part in parts if isinstance(part, Regular)]
    if not kernel or len(sizes) != len(parts):
        return None
    return SystemLabel(kernel=kernel, esp=sum(sizes), packages=packages)


def compare_packages(before: Mapping[str, str], after: Mapping[str, str]) -> PackageChanges:
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
    """One line each: they are shown to people."""
    pairs = (each for pair in packages.items() for each in pair)
    return all(isinstance(each, str) and is_one_line(each) for each in pairs)
