"""The base of a derived recipe: an image or another recipe, as a tree in the store.

::

    docker:// oci: oci-archive: ─pull─→ ┐                   ┌ check out, Debian's layout
    store:NAME ────────────────ref────→ ├ tree in the store ┴→ cache/roots/tree-…: steps start here
    another recipe ───────────build───→ ┘     └ refs/bases/NAME keeps it from garbage collection

Only the tree decides what a derived build starts from, not how the tree was fetched. So the same
recipe on the same base gives the same digest on every computer.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, NotFound, RecipeError, Refused
from atoll.base.ids import parse_blob_digest
from atoll.builder.finish.debian_layout import to_debian_layout
from atoll.builder.finish.var_rules import MARKS
from atoll.builder.steps.ids import AccountFiles, AccountIds, list_ids, parse_lines
from atoll.debian.resolve import Installed
from atoll.debian.sources import read_architecture
from atoll.debian.stanza import parse_stanza
from atoll.host.fs import temporary_directory
from atoll.image.info import ImageInfo, parse_image_info
from atoll.image.paths import ATOLL, DPKG, IMAGE_INFO
from atoll.image.read_file import read_file
from atoll.lock.model import LockedBase
from atoll.oci.fetch import fetch_image
from atoll.oci.reference import (
    ArchiveReference,
    LayoutReference,
    RegistryReference,
    parse_reference,
)
from atoll.store.checkout import check_out
from atoll.store.lock import adding
from atoll.store.objects import find_missing
from atoll.store.refs import Ref, write_ref
from atoll.store.stat_cache import StatCache
from atoll.store.tree_images import read_image, read_image_bytes
from atoll.tree.erofs_objects import find_objects
from atoll.tree.model import Regular, Symlink, walk

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.base.ids import TreeId
    from atoll.base.report import Reporter
    from atoll.builder.build_context import BuildContext
    from atoll.builder.cache import Cache
    from atoll.oci.reference import Reference
    from atoll.recipe.model import ImageBase
    from atoll.store.layout import Store
    from atoll.tree.model import Directory

_SETTLED = 3_600_000_000_000
"""Nanoseconds."""
_FORM = "1"
"""Increase it when a checkout of the same tree gives another root: cached roots are then
ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseImage:
    """The tree in the store that a recipe is derived from, with what a build needs to know of
    it."""

    locked: LockedBase
    info: ImageInfo
    installed: Installed
    ids: AccountIds
    """The ids of its accounts. A derived recipe cannot change them."""

    @property
    def tree(self) -> TreeId:
        return self.locked.tree


def find_image(
    context: BuildContext, base: ImageBase, locked: LockedBase | None = None
) -> BaseImage:
    """Fetch the base that a recipe names into the store, unless it is complete there.

    With ``locked`` it must be that tree, and the network is not used if the store has it. Raises
    RecipeError, NotFound, NetworkError, Refused or Damaged.
    """
    with adding(context.store):
        if locked is None or not _is_whole(context.store, locked.tree):
            found = _fetch(context, base, locked)
            if locked is not None and found.tree != locked.tree:
                raise Refused(
                    f"{base.reference} is tree {found.tree}, the lock says {locked.tree}",
                    hint="see: atoll lock --update",
                )
            locked = found
        return keep_base(context, locked)


def keep_base(context: BuildContext, locked: LockedBase) -> BaseImage:
    """The base ``locked``, which is in the store, with a ref that keeps it from garbage collection.

    Raises RecipeError when it is for another architecture."""
    info = read_image_info(context.store, locked.tree)
    native = read_architecture()
    if info.architecture != native:
        raise RecipeError(
            f"the base is for {info.architecture}, this machine is {native}",
            file=context.recipe.file,
            key="from",
            hint=f"name an image for {native}, or build on a machine with the base's architecture",
        )
    ref = Ref(tree=locked.tree, name=info.name, version=info.version, created=info.epoch)
    write_ref(context.store, context.bases_ref, ref)
    return BaseImage(
        locked=locked,
        info=info,
        installed=read_installed(context.store, locked.tree),
        ids=read_tree_ids(context.store, locked.tree),
    )


def ensure_checkout(context: BuildContext, base: BaseImage) -> Path:
    """The base as a root in Debian's layout, cached for all recipes that are derived from it."""
    title = f"{base.info.name} {base.info.version}"
    return check_out_root(context.cache, context.store, context.reporter, base.tree, title=title)


def check_out_root(
    cache: Cache, store: Store, reporter: Reporter, of: TreeId, *, title: str
) -> Path:
    """The tree ``of`` as a root in Debian's layout, cached; ``title`` names it for a person."""
    name = base_root_name(of)
    kept = cache.find("roots", name)
    if kept is not None:
        return kept
    with (
        reporter.step(f"Unpacking {title}"),
        adding(store),
        temporary_directory(cache.root / "roots", prefix=".new-") as temporary,
    ):
        root = temporary / "root"
        tree = read_image(store, of)
        check_out(store, tree, root, reporter)
        to_debian_layout(root)
        kept = cache.keep(root, "roots", name)
        keep_known(cache, store, tree, kept)
        return kept


def keep_known(cache: Cache, store: Store, tree: Directory, root: Path) -> None:
    """Let the first import of ``root`` know the contents that were just written to it: else it
    reads and digests all of the base again. Files that the layout moved are read."""
    known = StatCache(
        store,
        device=root.stat().st_dev,
        # Nothing changes a root of the cache, so that no file of it is too young.
        begun=time.time_ns() + _SETTLED,
    )
    for path, node in walk(tree):
        if isinstance(node, Regular | Symlink):
            with suppress(FileNotFoundError, NotADirectoryError):
                status = os.lstat(os.fsencode(root) + path)
                kind = stat.S_ISREG if isinstance(node, Regular) else stat.S_ISLNK
                size = node.size if isinstance(node, Regular) else len(node.target)
                if kind(status.st_mode) and status.st_size == size:
                    known.add(status, node)
    known.save(cache.path("known", root.name))


def base_root_name(tree: TreeId) -> str:
    """The name of the checked-out tree in the cache's ``roots/``."""
    return f"tree{_FORM}-{tree}"


def read_image_info(store: Store, tree: TreeId) -> ImageInfo:
    """The ``image.json`` of a tree in the store. Raises Refused or Damaged."""
    return parse_image_info(read_file(store, tree, IMAGE_INFO), where=f"tree {tree}")


def read_installed(store: Store, tree: TreeId) -> Installed:
    """The packages installed in a tree, with apt's auto-installed marks, as the resolver needs."""
    status = (read_file(store, tree, f"{DPKG}/status") or b"").decode(errors="replace")
    states = (read_file(store, tree, f"{ATOLL}{MARKS}/extended_states") or b"").decode(
        errors="replace"
    )
    stanzas = tuple(
        stanza
        for stanza in map(parse_stanza, filter(str.strip, status.split("\n\n")))
        if stanza.fields.get("status", "").endswith(" installed")
    )
    marks = (parse_stanza(text).fields for text in states.split("\n\n"))
    native = read_image_info(store, tree).architecture
    automatic = {
        (mark.get("package", ""), mark.get("architecture", native))
        for mark in marks
        if mark.get("auto-installed") == "1"
    }
    keys = {stanza.key for stanza in stanzas}
    # apt records the marks of "Architecture: all" packages under the native architecture
    automatic |= {(name, "all") for name, _ in automatic}
    return Installed(stanzas=stanzas, automatic=frozenset(automatic & keys))


def read_tree_ids(store: Store, tree: TreeId) -> AccountIds:
    """The ids of the accounts in a tree."""
    texts = {
        name: (read_file(store, tree, f"etc/{name}") or b"").decode(errors="surrogateescape")
        for name in ("passwd", "group")
    }
    return list_ids(AccountFiles(**{name: parse_lines(text) for name, text in texts.items()}))


def _is_whole(store: Store, tree: TreeId) -> bool:
    try:
        return not find_missing(store, find_objects(read_image_bytes(store, tree)))
    except (NotFound, Damaged):
        return False


def _fetch(context: BuildContext, base: ImageBase, locked: LockedBase | None) -> LockedBase:
    reference = parse_reference(base.reference)
    if isinstance(reference, RegistryReference) and locked and locked.manifest:
        reference = replace(reference, digest=parse_blob_digest(locked.manifest))
    image = fetch_image(_local(context, reference), lambda: context.store, context.reporter)
    return LockedBase(reference=base.reference, manifest=image.manifest or "", tree=image.tree)


def _local(context: BuildContext, reference: Reference) -> Reference:
    """``reference`` with its path, if any, relative to the recipe's folder."""
    match reference:
        case LayoutReference(directory=directory):
            return replace(reference, directory=os.fspath(context.recipe.resolve(directory)))
        case ArchiveReference(file=file):
            return replace(reference, file=os.fspath(context.recipe.resolve(file)))
    return reference
