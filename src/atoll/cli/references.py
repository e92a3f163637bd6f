"""Resolve a word of the command line to an image, a tree, a deployment, a recipe or a lock.

All verbs that take such a word use ``resolve_word``, so it means the same everywhere. The error for
an unknown word suggests what was probably meant.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from atoll.base.errors import AtollError, MissingPrivilege, NotFound, UsageError
from atoll.base.ids import TreeId, is_hex_digest
from atoll.base.suggest import find_nearest
from atoll.cli.arguments import IMAGE_HELP, ROLES, TREE_HELP
from atoll.host.fs import find_near_path, temporary_directory
from atoll.inspect.tree_source import open_tree, opened_image
from atoll.machine.candidate import absolute_reference
from atoll.machine.deployment import Origin
from atoll.machine.deployments.state import read_origin, read_state
from atoll.machine.deployments.sysroot import find_sysroot, is_live
from atoll.oci.fetch import fetch_image
from atoll.oci.layout import is_layout
from atoll.oci.reference import (
    LayoutReference,
    Reference,
    StoreReference,
    format_reference,
    parse_reference,
)
from atoll.store.layout import default_store_root, open_store
from atoll.store.refs import list_ref_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.base.report import Reporter
    from atoll.inspect.tree_source import OpenTree
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.store.layout import Store

_PREFIXES = ("oci:", "oci-archive:", "store:", "docker://")
_LISTED = 5
"""How many names of a store a hint lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedImage:
    reference: Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedTree:
    """``store`` is the directory of the store that has the tree; ``image`` is what the deployment
    follows that it is of, if it is one, and that can be read."""

    tree: TreeId
    store: Path
    title: str
    image: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedRecipe:
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedLock:
    path: Path


Resolved: TypeAlias = ResolvedImage | ResolvedTree | ResolvedRecipe | ResolvedLock


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalImage:
    """An image whose whole tree is in ``store``; upgrades come from ``origin``."""

    store: Store
    tree: TreeId
    origin: Origin


def resolve_word(text: str, store: Path, machine: Path | None) -> Resolved:
    """What ``text`` names; an image is not read for this. Raises UsageError or NotFound, with a
    hint at what was probably meant.

    ``store`` is the directory of a store, which need not exist. ``machine`` is the root directory
    of the machine that has the deployments, None for the running one.
    """
    if is_hex_digest(text):
        return ResolvedTree(tree=TreeId(text), store=store, title=f"tree {text[:16]}…")
    if text in ROLES or (text.isascii() and text.isdecimal()):
        return _resolve_deployment(text, machine)
    if not text.startswith(_PREFIXES):
        path = Path(text)
        if path.exists():
            return _resolve_path(path, text)
        if text.endswith((".toml", ".lock")) or text.startswith((".", "/")):
            near = find_near_path(path)
            hint = f"did you mean: {near}" if near else f"name a recipe, a lock, or {TREE_HELP}"
            raise NotFound(f"there is no {text}", hint=hint)
        if text in _ref_names(store):
            return ResolvedImage(reference=StoreReference(name=text))
    return ResolvedImage(reference=_parse_reference(text, store))


def require_image(text: str, store: Path, sysroot: Sysroot | None = None) -> Reference | TreeId:
    """The image that ``text`` names, for verbs that take nothing else; raises UsageError.

    ``sysroot`` is the machine that the verb changes, if it changes one.
    """
    if is_hex_digest(text):
        return TreeId(text)
    if text in ROLES or (text.isascii() and text.isdecimal()):
        rollback = f"rollback {text}"
        rollback = sysroot.command(rollback) if sysroot else f"atoll {rollback}"
        hint = f"to boot it next: {rollback}" if text.isdecimal() else f"name {IMAGE_HELP}"
        raise UsageError(f"{text} is a deployment, not an image", hint=hint)
    resolved = require_tree_or_image(text, store, None)
    return resolved.tree if isinstance(resolved, ResolvedTree) else resolved.reference


def format_image(image: Reference | TreeId) -> str:
    """The reference of ``image`` with absolute paths, so that it is valid in every directory."""
    return image if isinstance(image, str) else format_reference(absolute_reference(image))


def live_image() -> str | None:
    """What ``install`` takes when no image is named: the system on the stick, on a live system."""
    return "booted" if is_live() else None


def fetch_word(
    text: str, store: Path | None, reporter: Reporter, *, follow: str | None = None
) -> LocalImage:
    """The image or tree that ``text`` names, fetched into the store if it is not there.

    ``follow`` names the image that upgrades use, if not this one. Raises what ``resolve_word`` and
    ``fetch_image`` raise.
    """
    root = (store or default_store_root()).absolute()
    resolved = require_tree_or_image(text, root, None)
    followed = None if follow is None else Origin(image=format_image(require_image(follow, root)))
    if isinstance(resolved, ResolvedTree):
        origin = followed or Origin(image=resolved.image or resolved.tree)
        return LocalImage(store=_open_store(resolved.store), tree=resolved.tree, origin=origin)
    reference = resolved.reference
    if isinstance(reference, StoreReference):
        fetched = fetch_image(reference, partial(_open_store, root), reporter)
    else:
        fetched = fetch_image(reference, partial(open_store, root, create=True), reporter)
    origin = followed or Origin(image=format_image(reference))
    return LocalImage(store=fetched.store, tree=fetched.tree, origin=origin)


@contextmanager
def opened_store(root: Path | None) -> Iterator[Store]:
    """The store at ``root``; without ``root`` the default store, or an empty temporary one if there
    is no default store."""
    if root is not None:
        yield open_store(root)
        return
    try:
        store = open_store(default_store_root())
    except NotFound:
        with temporary_directory(Path(tempfile.gettempdir()), prefix="atoll-") as empty:
            yield open_store(empty / "store", create=True)
        return
    yield store


@contextmanager
def opened_word(text: str, store: Store, machine: Path | None) -> Iterator[OpenTree]:
    """The tree that ``text`` names. Of an image that is not in the store, only the parts that are
    read are fetched."""
    resolved = require_tree_or_image(text, store.root, machine)
    with opened_resolved(resolved, store) as tree:
        yield tree


@contextmanager
def opened_resolved(resolved: ResolvedImage | ResolvedTree, store: Store) -> Iterator[OpenTree]:
    if isinstance(resolved, ResolvedTree):
        yield open_tree(open_store(resolved.store), resolved.tree, resolved.title)
        return
    with opened_image(resolved.reference, store) as tree:
        yield tree


def kind_of_resolved(resolved: Resolved) -> str:
    match resolved:
        case ResolvedRecipe():
            return "recipe"
        case ResolvedLock():
            return "lock"
        case _:
            return "tree"


def require_tree_or_image(
    text: str, store: Path, machine: Path | None
) -> ResolvedImage | ResolvedTree:
    """What ``text`` names, for verbs that need a tree; raises UsageError for a recipe or a lock."""
    resolved = resolve_word(text, store, machine)
    if isinstance(resolved, ResolvedRecipe):
        raise UsageError(
            f"{text} is a recipe, not an image", hint=f"build it first: atoll build {text}"
        )
    if isinstance(resolved, ResolvedLock):
        raise UsageError(
            f"{text} is a lock, not an image", hint="build an image: atoll build RECIPE"
        )
    return resolved


def _resolve_path(path: Path, text: str) -> Resolved:
    if is_layout(path):
        return ResolvedImage(reference=LayoutReference(directory=text))
    if path.suffix == ".lock":
        return ResolvedLock(path=path)
    if path.suffix == ".toml" or (path / "atoll.toml").exists():
        return ResolvedRecipe(path=path)
    if path.suffix in (".tar", ".oci"):
        hint = f"did you mean: oci-archive:{text}"
    else:
        hint = "a recipe is a file NAME.toml, or a directory with an atoll.toml"
    raise UsageError(f"{text} is not a recipe, a lock or an OCI layout", hint=hint)


def _resolve_deployment(text: str, machine: Path | None) -> ResolvedTree:
    sysroot = find_sysroot(machine)
    state = read_state(sysroot)
    if text in ROLES:
        found = next((each for each in state.deployments if getattr(each, text)), None)
    else:
        found = state.find(int(text[:10]))
    if found is None:
        known = ", ".join(str(each.number) for each in state.deployments) or "none"
        what = f"no {text} deployment" if text in ROLES else f"no deployment {text}"
        raise NotFound(f"there is {what} on this machine", hint=f"it has: {known}")
    image = ""
    with suppress(AtollError, OSError):
        image = read_origin(sysroot, found.number).image
    return ResolvedTree(
        tree=found.deployment.tree,
        store=sysroot.atoll,
        title=f"deployment {found.number}",
        image=image,
    )


def _parse_reference(text: str, store: Path) -> Reference:
    """``parse_reference`` with an error that suggests what ``text`` probably means."""
    try:
        return parse_reference(text)
    except UsageError as error:
        hint = _suggest(text, store)
        if hint is None and set(text) & {"/", ":"}:
            raise
        hint = (
            hint or "use store:NAME (see: atoll store list), oci:DIR:TAG or docker://HOST/NAME:TAG"
        )
        raise UsageError(f"{text!r} does not name an image", hint=hint) from error


def _suggest(text: str, store: Path) -> str | None:
    names = _ref_names(store)
    near = find_nearest(text, names)
    if near:
        return f"did you mean: store:{near[0]}"
    path = find_near_path(Path(text))
    if path is not None:
        return f"did you mean: {path}"
    if "/" in text or ":" in text or not names:
        return None
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"the store has {', '.join(f'store:{name}' for name in names[:_LISTED])}{more}"


def _ref_names(store: Path) -> tuple[str, ...]:
    try:
        return list_ref_names(open_store(store))
    except (NotFound, MissingPrivilege, OSError):
        return ()


def _open_store(root: Path) -> Store:
    try:
        return open_store(root)
    except NotFound as error:
        hint = "build an image first: atoll build RECIPE; or name one: oci:DIR:TAG"
        raise NotFound(f"{error.message}: nothing has been built yet", hint=hint) from error
