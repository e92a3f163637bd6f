"""What a person's word means to the verbs that look at systems: an image, a tree, a deployment, a
recipe, a lock.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from atoll.base.errors import NotFound, UsageError
from atoll.base.ids import TreeId, is_hex_digest

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from atoll.inspect.tree_source import OpenTree
    from atoll.oci.reference import Reference
    from atoll.store.layout import Store

HELP = (
    "an image (docker://HOST/NAME:TAG, oci:DIR[:TAG], oci-archive:FILE, store:NAME), a name or a"
    " tree digest in the store, or a deployment (its number, booted, default, fallback)"
)
_MARKS = ("booted", "default", "fallback")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSubject:
    """An image, wherever it is; ``store`` is asked first for what it has of it."""

    reference: Reference
    store: Store


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeSubject:
    tree: TreeId
    store: Store
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeSubject:
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class LockSubject:
    path: Path


Subject: TypeAlias = ImageSubject | TreeSubject | RecipeSubject | LockSubject


def add_place_arguments(parser: argparse.ArgumentParser, *, json: bool = True) -> None:
    parser.add_argument("--store", metavar="DIR", type=Path, help="store to use")
    parser.add_argument(
        "--root",
        metavar="DIR",
        type=Path,
        help="use the deployments of the machine in this directory",
    )
    if json:
        parser.add_argument("--json", action="store_true", help="print the result as JSON")


def find_subject(text: str, store: Store, root: Path | None) -> Subject:
    """Raises UsageError or NotFound that says what ``text`` could have meant."""
    if is_hex_digest(text):
        return TreeSubject(tree=TreeId(text), store=store, title=f"tree {text[:16]}…")
    if text in _MARKS or (text.isascii() and text.isdecimal()):
        return _deployment(text, root)
    if not text.startswith(("oci:", "oci-archive:", "store:", "docker://")):
        path = Path(text)
        if path.exists():
            return _local(path, text, store)
        if text.endswith((".toml", ".lock")) or text.startswith((".", "/")):
            from atoll.host.fs import find_near_path

            near = find_near_path(path)
            hint = f"did you mean: {near}" if near else "name a recipe, a lock, or " + HELP
            raise NotFound(f"there is no {text}", hint=hint)
        ref = _ref(text, store)
        if ref is not None:
            return ref
    from atoll.cli.references import parse_image

    return ImageSubject(reference=parse_image(text, store.root), store=store)


@contextmanager
def opened_store(root: Path | None) -> Iterator[Store]:
    """The store that was asked for; without one at the usual place, an empty one for a while."""
    from atoll.host.fs import temporary_directory
    from atoll.store.layout import default_store_root, open_store

    if root is not None:
        yield open_store(root)
        return
    try:
        store = open_store(default_store_root())
    except NotFound:
        import tempfile

        with temporary_directory(Path(tempfile.gettempdir()), prefix="atoll-") as empty:
            yield open_store(empty / "store", create=True)
        return
    yield store


@contextmanager
def opened_subject(text: str, store: Store, root: Path | None) -> Iterator[OpenTree]:
    """The tree that ``text`` means; raises UsageError for what is none."""
    subject = find_subject(text, store, root)
    if isinstance(subject, (RecipeSubject, LockSubject)):
        raise UsageError(
            f"{text} is a {subject_kind(subject)}, not an image or a tree", hint="name " + HELP
        )
    with opened(subject) as tree:
        yield tree


@contextmanager
def opened(subject: ImageSubject | TreeSubject) -> Iterator[OpenTree]:
    from atoll.inspect.tree_source import open_tree, opened_image

    if isinstance(subject, TreeSubject):
        yield open_tree(subject.store, subject.tree, subject.title)
        return
    with opened_image(subject.reference, subject.store) as tree:
        yield tree


def subject_kind(subject: Subject) -> str:
    match subject:
        case RecipeSubject():
            return "recipe"
        case LockSubject():
            return "lock"
        case _:
            return "tree"


def _local(path: Path, text: str, store: Store) -> Subject:
    from atoll.oci.layout import is_layout
    from atoll.oci.reference import LayoutReference

    if path.is_dir() and is_layout(path):
        return ImageSubject(reference=LayoutReference(directory=text), store=store)
    if path.suffix == ".lock":
        return LockSubject(path=path)
    if path.suffix == ".toml" or (path / "atoll.toml").exists():
        return RecipeSubject(path=path)
    raise UsageError(
        f"{text} is not a recipe, a lock or an OCI layout",
        hint="a recipe is a file NAME.toml, or a directory with an atoll.toml",
    )


def _ref(name: str, store: Store) -> ImageSubject | None:
    from atoll.oci.reference import StoreReference
    from atoll.store.refs import list_ref_names

    if name not in list_ref_names(store):
        return None
    return ImageSubject(reference=StoreReference(name=name), store=store)


def _deployment(text: str, root: Path | None) -> TreeSubject:
    from atoll.machine.deployments.state import read_state
    from atoll.machine.deployments.sysroot import find_sysroot
    from atoll.store.layout import open_store

    sysroot = find_sysroot(root)
    state = read_state(sysroot)
    if text in _MARKS:
        found = next((each for each in state.deployments if getattr(each, text)), None)
    else:
        found = state.find(int(text[:10]))
    if found is None:
        known = ", ".join(str(each.number) for each in state.deployments) or "none"
        what = f"no {text} deployment" if text in _MARKS else f"no deployment {text}"
        raise NotFound(f"there is {what} on this machine", hint=f"it has: {known}")
    deployment = found.deployment
    return TreeSubject(
        tree=deployment.tree, store=open_store(sysroot.atoll), title=f"deployment {found.number}"
    )
