"""Divide a tree into layers, so that an update downloads little.

A layer is a group of Debian packages. A big package has its own layer; the others share at most
SHARED layers, chosen by a hash of the package name: a package never moves to another layer because
others are added or removed. Files that no package owns (the package database, caches, the
initrd) change most and come last. All names of a hard-linked file are in one layer. Layers overlap
only in the parent directories of their files, which each layer carries with the same metadata.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING

from atoll.base.errors import Refused
from atoll.tree.model import Directory, Regular, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from atoll.tree.model import Node

BIG = 32 << 20
"""A package with at least this many bytes of files has its own layer."""

MAX_BIG = 15
SHARED = 32
"""Layers for packages that are not big. With MAX_BIG and the last layer, the most is 48."""

UNOWNED = "what no package owns"
WHITEOUT = b".wh."


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPlan:
    """A layer; ``groups`` has absolute paths with their nodes for each package, parents first."""

    title: str
    groups: tuple[tuple[tuple[bytes, Node], ...], ...]

    @property
    def entries(self) -> tuple[tuple[bytes, Node], ...]:
        """All entries of the layer, in order."""
        return tuple(chain.from_iterable(self.groups))


def plan_layers(tree: Directory, owner_of: Mapping[bytes, str]) -> tuple[LayerPlan, ...]:
    """Divide ``tree`` into layers; ``owner_of`` maps absolute paths to the package that owns them.

    Raises Refused for a name that would be a whiteout in a layer.
    """
    owners = _owners(tree, owner_of)
    big = _big_packages(tree, owners)
    directories: dict[bytes, Directory] = {}
    found: dict[str, list[tuple[bytes, Node]]] = {package: [] for package in set(owners.values())}
    for path, node in walk(tree):
        if path in owners:
            found[owners[path]].append((path, node))
        if isinstance(node, Directory):
            directories[path] = node
    layers: dict[tuple[int, str], list[str]] = {}
    for package in sorted(found):
        layers.setdefault(_key(package, big), []).append(package)
    plans = []
    for _, packages in sorted(layers.items()):
        carried: set[bytes] = set()
        groups = tuple(tuple(_with_parents(found[each], directories, carried)) for each in packages)
        plans.append(LayerPlan(title=_title(packages), groups=groups))
    return tuple(plans)


def _with_parents(
    entries: Iterable[tuple[bytes, Node]], directories: Mapping[bytes, Node], carried: set[bytes]
) -> Iterator[tuple[bytes, Node]]:
    """``entries``, each preceded by its parent directories that are not ``carried`` yet."""
    for path, node in entries:
        parent = path
        missing = []
        while parent != b"/":
            parent = parent.rpartition(b"/")[0] or b"/"
            if parent in carried:
                break
            carried.add(parent)
            missing.append((parent, directories[parent]))
        yield from reversed(missing)
        carried.add(path)
        yield path, node


def _owners(tree: Directory, owner_of: Mapping[bytes, str]) -> dict[bytes, str]:
    """The package (or ``""``) of every path to store: all but directories with entries."""
    owners: dict[bytes, str] = {}
    first_owner: dict[int, str] = {}
    for path, node in walk(tree):
        if path.rpartition(b"/")[2].startswith(WHITEOUT):
            raise Refused(
                f"{os.fsdecode(path)} cannot be published: in a layer, a name that "
                "begins with .wh. is a whiteout"
            )
        owner = owner_of.get(path, "")
        if not isinstance(node, Directory):
            owners[path] = first_owner.setdefault(id(node), owner)
        elif not node.entries:
            owners[path] = owner
    return owners


def _big_packages(tree: Directory, owners: Mapping[bytes, str]) -> frozenset[str]:
    sizes: Counter[str] = Counter()
    counted: set[int] = set()
    for path, node in walk(tree):
        if isinstance(node, Regular) and id(node) not in counted:
            counted.add(id(node))
            sizes[owners[path]] += node.size
    del sizes[""]
    big = sorted((-size, package) for package, size in sizes.items() if size >= BIG)
    return frozenset(package for _, package in big[:MAX_BIG])


def _key(package: str, big: frozenset[str]) -> tuple[int, str]:
    """The sort key of a layer: big packages, shared layers, then files that no package owns."""
    if not package:
        return (2, "")
    if package in big:
        return (0, package)
    return (1, f"{sha256(package.encode()).digest()[0] % SHARED:02}")


def _title(packages: list[str]) -> str:
    return " ".join(sorted(packages)) or UNOWNED
