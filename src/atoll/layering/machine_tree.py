"""The tree of a machine: its image with what the machine file adds, built in the machine's store.

::

    /etc/atoll/ of the live /etc ─copy→ a folder ─ recipe, lock ─→ build on the image ─→ tree
       machine.toml (with the edit)        └ machine.lock: made, extended, or moved

The build reads and writes only the copy, so that nothing of the machine has changed when it fails.
It is the build that ``atoll build --from-machine`` does anywhere else: the same file, base and lock
give the same tree.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError
from atoll.builder.build import build_tree
from atoll.builder.build_context import ChosenBase
from atoll.builder.lock_command import follow_recipe, update
from atoll.host.fs import make_directory, replace_file, temporary_directory
from atoll.lock.model import LockedBase
from atoll.machine.deployment import MachineFiles
from atoll.machine.etc.etc_commands import NO_MODES
from atoll.machine.etc.etc_tree import Kind, node_at, walk
from atoll.machine.machine_file import LOCK_PLACE, PLACE
from atoll.recipe.language.parse import read_machine_recipe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from atoll.base.ids import TreeId
    from atoll.base.report import Reporter
    from atoll.lock.resolve import LockDifference
    from atoll.machine.etc.etc_tree import Node
    from atoll.recipe.model import MachineRecipe
    from atoll.store.layout import Store

REF = "machine"
"""The ref of a tree that was built for this machine; its base is at ``bases/machine``."""
FOLDER = ".machine."
"""How the name of the copy begins; a power cut may leave it (``machine.deployments.leftovers``)."""
_ETC = "/etc/atoll"
NO_FILES: Mapping[str, bytes] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseTree:
    """The image that a machine's tree is made of: its tree, and the reference that names it."""

    tree: TreeId
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineTree:
    """``difference`` are the packages of the lock that came, went or moved."""

    tree: TreeId
    files: MachineFiles
    difference: LockDifference


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFolder:
    """A copy of ``/etc/atoll``, in which a machine's tree is resolved and built."""

    path: Path

    @property
    def recipe(self) -> Path:
        return self.path / PLACE.removeprefix("atoll/")

    @property
    def lock(self) -> Path:
        return self.path / LOCK_PLACE.removeprefix("atoll/")

    def read(self, base: BaseTree) -> MachineRecipe:
        """Raises RecipeError or NotFound."""
        with _named_as_in_etc(self.path):
            return read_machine_recipe(self.recipe, base=base.image)


@contextmanager
def machine_folder(
    etc: Node,
    text: str,
    parent: Path,
    files: Mapping[str, bytes] = NO_FILES,
    modes: Mapping[str, int] = NO_MODES,
) -> Iterator[MachineFolder]:
    """A copy of ``/etc/atoll`` with ``text`` as the machine file, and with ``files``, below
    ``parent``. Files that can be executed stay so: a script may run them."""
    with temporary_directory(parent, prefix=FOLDER) as path:
        folder = MachineFolder(path=path)
        below = _below_atoll(etc)
        for name, entry in walk(below) if below is not None else ():
            if entry.kind is Kind.DIRECTORY:
                make_directory(path / name)
            elif entry.kind is Kind.FILE:
                replace_file(path / name, entry.read(), mode=_mode(entry.mode))
        for name, content in files.items():
            make_directory((path / name).parent)
            replace_file(path / name, content, mode=_mode(modes.get(name, 0o644)))
        replace_file(folder.recipe, text.encode(), mode=0o600)
        yield folder


def resolve_machine_tree(
    folder: MachineFolder, base: BaseTree, store: Store, reporter: Reporter, *, moves: bool = False
) -> LockDifference:
    """Make or extend the lock. With ``moves`` all its packages move to their newest versions; else
    those that are locked, and still fit, stay.

    Raises RecipeError, PackageError, NetworkError, NoSpace, Busy or NotFound.
    """
    with _named_as_in_etc(folder.path):
        recipe, chosen = folder.read(base).recipe, choose_base(base)
        if moves:
            return update(recipe, store, (), reporter, base=chosen).difference
        return follow_recipe(recipe, store, reporter, base=chosen).difference


def build_machine_tree(
    folder: MachineFolder, base: BaseTree, store: Store, reporter: Reporter, *, moves: bool = False
) -> MachineTree:
    """Resolve and build; parameters and errors are those of ``resolve_machine_tree``."""
    difference = resolve_machine_tree(folder, base, store, reporter, moves=moves)
    with _named_as_in_etc(folder.path):
        built = build_tree(folder.read(base).recipe, store, reporter, base=choose_base(base))
    files = MachineFiles(text=folder.recipe.read_bytes(), lock=folder.lock.read_bytes())
    return MachineTree(tree=built.tree, files=files, difference=difference)


def choose_base(base: BaseTree) -> ChosenBase:
    """``base`` as a build takes it."""
    locked = LockedBase(reference=base.image, manifest="", tree=base.tree)
    return ChosenBase(locked=locked, ref=REF)


@contextmanager
def _named_as_in_etc(folder: Path) -> Iterator[None]:
    """Errors name the files as the person knows them, not the copy."""
    try:
        yield
    except AtollError as error:
        error.message = error.message.replace(str(folder), _ETC)
        if error.hint:
            error.hint = error.hint.replace(str(folder), _ETC)
            error.hint = error.hint.replace(f"atoll lock {_ETC}/machine.toml", "atoll apply")
        raise


def _mode(mode: int) -> int:
    return 0o600 | (mode & 0o100)


def _below_atoll(etc: Node) -> Node | None:
    return node_at(etc, PLACE.partition("/")[0])
