"""An image as a person writes it, for the verbs that need the whole tree: in a store afterwards.

A layout is read into the store, which is made where there is none. What names no image is answered
with what it probably means: a name in the store, a layout, a recipe, or a file nearby.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from atoll.base.errors import NotFound, Refused, UsageError
from atoll.base.ids import TreeId, is_hex_digest
from atoll.base.suggest import find_nearest
from atoll.host.fs import find_near_path
from atoll.oci.layout import read_layout
from atoll.oci.reference import (
    ArchiveReference,
    LayoutReference,
    Reference,
    RegistryReference,
    StoreReference,
    parse_reference,
)
from atoll.store.layout import default_store_root, open_store
from atoll.store.refs import list_ref_names, read_ref

if TYPE_CHECKING:
    from atoll.base.report import Reporter
    from atoll.store.layout import Store

_MOST = 5
"""How many names of a store a hint lists."""


def take_image(text: str, store: Path | None, reporter: Reporter) -> tuple[Store, TreeId]:
    """The tree that ``text`` names and the store that has it; raises NotFound or UsageError."""
    from atoll.oci.layout import inspect_layout

    root = store or default_store_root()
    reference = None if is_hex_digest(text) else parse_image(text, root)
    if isinstance(reference, LayoutReference):
        inspect_layout(reference)
        opened = open_store(root.absolute(), create=True)
    else:
        opened = _open_store(root)
    return opened, find_image(text, opened, reporter)


def parse_image(text: str, store: Path) -> Reference:
    """As ``parse_reference``; the error says what ``text`` probably means."""
    try:
        return parse_reference(text)
    except UsageError as error:
        hint = _meant(text, store)
        if hint is None and set(text) & {"/", ":"}:
            raise
        hint = (
            hint
            or "write store:NAME (see: atoll store list), oci:DIR:TAG or docker://HOST/NAME:TAG"
        )
        raise UsageError(f"{text!r} does not name an image", hint=hint) from error


def _meant(text: str, store: Path) -> str | None:
    path = Path(text)
    if (path / "oci-layout").exists():
        return f"did you mean: oci:{text}"
    if (path / "atoll.toml").exists() or (path.suffix == ".toml" and path.exists()):
        return f"it is a recipe; build it first: atoll build {text}"
    if path.suffix in (".tar", ".oci") and path.exists():
        return f"did you mean: oci-archive:{text}"
    if path.exists():
        return None
    names = _names(store)
    near = find_nearest(text, names)
    if near:
        return f"did you mean: store:{near[0]}"
    found = find_near_path(path)
    if found is not None:
        return f"did you mean: {found}"
    if "/" in text or ":" in text or not names:
        return None
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return f"the store has {', '.join(f'store:{name}' for name in names[:_MOST])}{more}"


def _names(store: Path) -> tuple[str, ...]:
    try:
        return list_ref_names(open_store(store))
    except (NotFound, OSError):
        return ()


def _open_store(root: Path) -> Store:
    try:
        return open_store(root)
    except NotFound as error:
        hint = "build an image first: atoll build RECIPE; or name one: oci:DIR:TAG"
        raise NotFound(f"{error.message}: nothing has been built yet", hint=hint) from error


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
