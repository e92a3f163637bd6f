"""Change what a machine is made of: ``add``, ``remove``, ``apply``, ``kargs``.

::

    1. lock the machine, clean up                     deployments/machine_lock.py, cleanup.py
    2. the machine file of the live /etc, edited      edit_machine_file.py
    3. the image below what boots next                find_base
    4. resolve and build, in a copy of /etc/atoll     machine_tree.py
    5. stage; the boot entry's first sector commits   machine/stage_image.py
    6. write the machine file and its lock to /etc

The machine file changes last: after an error, or a power cut before the commit, file, lock and
system are as they were. Each deployment keeps the file and lock that it was built from
(``machine.toml`` and ``machine.lock`` beside its ``deployment.json``).
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from atoll.base.errors import Busy, Damaged, NotFound, NothingToDo, RecipeError
from atoll.layering.edit_machine_file import NEW
from atoll.layering.machine_tree import (
    REF,
    BaseTree,
    MachineFolder,
    MachineTree,
    build_machine_tree,
    machine_folder,
    resolve_machine_tree,
)
from atoll.machine.cleanup import clean_up
from atoll.machine.deployment import MachineFiles, Origin
from atoll.machine.deployments.built_from import read_machine_files
from atoll.machine.deployments.confirmation import require_confirmed
from atoll.machine.deployments.layer_report import clear_layer_report
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.retention import require_current
from atoll.machine.deployments.state import read_origin, read_state
from atoll.machine.etc.damaged_tree import read_source_etc
from atoll.machine.etc.stage import retry_if_changed
from atoll.machine.machine_file import FILE, read_machine_text
from atoll.machine.stage_image import stage_image
from atoll.machine.staging import StageRequest
from atoll.oci.system_label import compare_packages, read_system_label
from atoll.store.layout import open_store
from atoll.store.refs import remove_ref
from atoll.store.tree_images import read_below
from atoll.tree.model import Directory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from atoll.base.ids import TreeId
    from atoll.base.report import Reporter
    from atoll.lock.resolve import LockDifference
    from atoll.machine.deployments.state import DeploymentState, MachineState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.etc_tree import Node
    from atoll.machine.stage_image import StageResult
    from atoll.oci.system_label import PackageChanges
    from atoll.store.layout import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineBase:
    """What is below a machine's own changes, for an edit of its file to look at."""

    base: BaseTree
    store: Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """A new text of the machine file, with what a person should know of it. ``files`` come with
    it, as those of the request do."""

    text: str
    notes: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRequest:
    """``verb`` is for the history. ``edit`` gives the new text of the machine file, from the
    present one; it raises NothingToDo, or why the change is refused. ``files`` are further files
    that come with it, by their paths below ``/etc/atoll``; ``modes`` has those that are not
    0644."""

    verb: str
    edit: Callable[[str, MachineBase], Edited]
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    modes: Mapping[str, int] = field(default_factory=dict)
    confirm: int | None = None
    """How many seconds after it is up it must be confirmed; None if it need not be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeResult:
    """``packages`` are the changes to what boots next, None where one of both lists no packages.
    ``enables`` are units that were not enabled before."""

    staged: StageResult
    packages: PackageChanges | None
    enables: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """A locked machine, and what its next tree is made of. ``newest`` boots next; ``live`` is the
    ``/etc`` of what runs, ``file`` the machine file in it, None without one."""

    machine: Sysroot
    state: MachineState
    newest: DeploymentState
    live: Node
    file: bytes | None
    base: BaseTree
    store: Store

    @property
    def text(self) -> str:
        """The machine file; empty without one. Raises RecipeError."""
        return decode_machine_file(self.file)


def change_machine(sysroot: Sysroot, request: ChangeRequest, reporter: Reporter) -> ChangeResult:
    """Edit the machine file, build, stage. Raises NothingToDo, RecipeError, PackageError,
    NetworkError, NoSpace, Refused, Busy or Damaged; the machine is then as it was."""
    with locked_machine(sysroot) as machine:
        require_confirmed(machine)
        here = find_situation(machine, clean_up(machine, reporter))
        edited = _edit(here, request)
        # Its tree may be gone afterwards: what never booted is not kept.
        before = _read_packages(here.store, here.newest.deployment.tree)
        enabled = list_enabled_units(here.store, here.newest.deployment.tree)
        try:
            made = _make(here, request, edited, reporter)
            staged = _stage(here, request, edited, made, reporter)
            clear_layer_report(here.machine.state)
        finally:
            forget_built(here.store)
        after = _read_packages(here.store, staged.deployment.tree)
        enables = list_enabled_units(here.store, staged.deployment.tree) - enabled
    packages = None if before is None or after is None else compare_packages(before, after)
    return ChangeResult(
        staged=staged, packages=packages, enables=tuple(sorted(enables)), notes=edited.notes
    )


def preview_change(
    sysroot: Sysroot, request: ChangeRequest, reporter: Reporter
) -> tuple[Edited, LockDifference | None]:
    """The packages that ``change_machine`` would add, remove and move, without a build; None where
    the image itself would boot next."""
    with locked_machine(sysroot, esp=False, published=False) as machine:
        here = find_situation(machine, read_state(machine))
        edited = _edit(here, request)
        try:
            with _folder(here, request, edited) as folder:
                if not folder.read(here.base).makes_tree:
                    return edited, None
                return edited, resolve_machine_tree(folder, here.base, here.store, reporter)
        finally:
            forget_built(here.store)


def find_situation(machine: Sysroot, state: MachineState) -> Situation:
    """Raises Refused for a machine without a deployment, Damaged or Busy."""
    current = require_current(state)
    newest, live = state.default or current, read_live(machine, current)
    return Situation(
        machine=machine,
        state=state,
        newest=newest,
        live=live,
        file=read_machine_text(live),
        base=find_base(machine, newest),
        store=open_store(machine.atoll),
    )


def read_live(machine: Sysroot, current: DeploymentState) -> Node:
    """The ``/etc`` of what runs, also where its tree is damaged. Raises Busy or Damaged."""
    return retry_if_changed(lambda: read_source_etc(machine, current.number, None))[0].live


def decode_machine_file(data: bytes | None) -> str:
    """Raises RecipeError."""
    try:
        return (data or b"").decode()
    except UnicodeDecodeError as error:
        line = (data or b"").count(b"\n", 0, error.start) + 1
        raise RecipeError("is not UTF-8 text", file=FILE, line=line) from None


def check_file_unchanged(here: Situation) -> None:
    """A build takes minutes, and the machine file is written after it. Raises Busy when somebody
    changed the file meanwhile: that would be lost."""
    now = read_live(here.machine, require_current(here.state))
    if read_machine_text(now) != here.file:
        raise Busy(f"{FILE} changed meanwhile, so nothing else did", hint="try again")


def find_base(sysroot: Sysroot, deployment: DeploymentState) -> BaseTree:
    """The image below a deployment. Raises Damaged."""
    origin = read_origin(sysroot, deployment.number)
    return BaseTree(tree=origin.base or deployment.deployment.tree, image=origin.image)


def forget_built(store: Store) -> None:
    """Remove the refs of a build: deployments keep what they need themselves."""
    for name in (REF, f"bases/{REF}"):
        with suppress(NotFound):
            remove_ref(store, name)


def _edit(here: Situation, request: ChangeRequest) -> Edited:
    return request.edit(here.text or NEW, MachineBase(base=here.base, store=here.store))


def _folder(
    here: Situation, request: ChangeRequest, edited: Edited
) -> AbstractContextManager[MachineFolder]:
    files = {**request.files, **edited.files}
    return machine_folder(here.live, edited.text, here.machine.state, files, request.modes)


def _make(
    here: Situation, request: ChangeRequest, edited: Edited, reporter: Reporter
) -> MachineTree | None:
    with _folder(here, request, edited) as folder:
        if not folder.read(here.base).makes_tree:
            return None
        return build_machine_tree(folder, here.base, here.store, reporter)


def list_enabled_units(store: Store, tree: TreeId) -> frozenset[str]:
    """The units that links in a tree's /etc enable; empty for a damaged tree: this is only told."""
    try:
        found = read_below(store, tree, "etc/systemd/system")
    except (Damaged, NotFound, OSError):
        return frozenset()
    return frozenset(
        os.fsdecode(unit)
        for name, folder in (found.entries if isinstance(found, Directory) else {}).items()
        if name.endswith((b".wants", b".requires")) and isinstance(folder, Directory)
        for unit in folder.entries
    )


def _read_packages(store: Store, tree: TreeId) -> Mapping[str, str] | None:
    """None where a tree is damaged, or lists no packages: this is only told."""
    try:
        label = read_system_label(store, tree)
    except (Damaged, NotFound, OSError):
        return None
    return None if label is None else label.packages


def _stage(
    here: Situation,
    request: ChangeRequest,
    edited: Edited,
    made: MachineTree | None,
    reporter: Reporter,
) -> StageResult:
    """Raises NothingToDo when what boots next is this tree, made from these files."""
    base = here.base
    files = MachineFiles(text=edited.text.encode(), lock=b"") if made is None else made.files
    tree = base.tree if made is None else made.tree
    if here.newest.deployment.tree == tree:
        before = read_machine_files(here.machine, here.newest.number)
        if before == files or (before is None and made is None):
            raise NothingToDo("what boots next is what the machine file says: nothing changes")
    named = {**request.files, **edited.files}
    check_file_unchanged(here)
    others = tuple((f"atoll/{name}", content) for name, content in named.items())
    stage = StageRequest(
        verb=request.verb,
        tree=tree,
        origin=Origin(image=base.image, base=None if made is None else base.tree),
        machine=replace(
            files,
            others=others,
            modes={f"atoll/{name}": mode for name, mode in request.modes.items()},
        ),
        confirm=request.confirm,
    )
    return stage_image(here.machine, here.state, stage, reporter)
