"""The ``/etc`` of a machine's deployments: what was changed there, and how to reset it.

The running deployment's ``/etc`` is mounted: it is read and changed in paths, name by name. That of
another deployment is read from its tree's image and its upper directory, and a new upper directory
replaces the old one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, NotFound, NothingToDo, Refused, UsageError
from atoll.machine.boot.boot_entries import read_menu
from atoll.machine.deployments.operations import RemovePath
from atoll.machine.deployments.state import deployment_numbers, read_deployment
from atoll.machine.etc.conflicts import find_conflicts, plan_conflicts
from atoll.machine.etc.etc_operations import MoveAside
from atoll.machine.etc.etc_tree import (
    Entry,
    Kind,
    Node,
    compare,
    is_file,
    node_at,
    replaced,
    with_content,
)
from atoll.machine.etc.keyed_files import KEYED, take_image_records
from atoll.machine.etc.overlay_upper import plan_live, plan_upper
from atoll.machine.etc.read import EtcReader, etc_of_tree, read_directory, read_layered
from atoll.machine.etc.stage import EtcPaths, MergeInputs, etc_paths, merge_at_first_boot
from atoll.store.layout import open_store
from atoll.store.objects import read_object
from atoll.store.tree_images import read_below
from atoll.tree.model import Directory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atoll.base.ids import TreeId
    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.etc_tree import EtcChange
    from atoll.machine.etc.merge import Conflict
    from atoll.store.layout import Store

LIVE = Path("/etc")
TREE = Path("/run/atoll/tree-etc")
LISTED = 5
"""How many paths a hint lists."""
NO_MODES: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineEtc:
    """One deployment's ``/etc`` as it is now."""

    deployment: int
    tree: Node
    live: Node
    skipped: tuple[str, ...]
    conflicts: tuple[Conflict, ...]
    paths: EtcPaths
    mounted: Path | None
    """Where it is mounted; None if it is not in use."""
    unread: str
    """Why there may be conflicts that cannot be read; empty when all were read."""

    @property
    def changes(self) -> tuple[tuple[str, EtcChange], ...]:
        return compare(self.tree, self.live)


def choose_shown(sysroot: Sysroot, number: int | None) -> int:
    """As ``choose_deployment``, but also for a user who may not list the deployments: without a
    ``number`` that is the one that runs."""
    if number is None and sysroot.running is not None:
        return sysroot.running
    return choose_deployment(sysroot, number)


def choose_deployment(sysroot: Sysroot, number: int | None) -> int:
    """The deployment ``number``, else the one that runs, else the one that boots next. Raises
    NotFound."""
    known = deployment_numbers(sysroot)
    chosen = number if number is not None else sysroot.running
    if chosen is None:
        chosen = read_menu(sysroot.entries, sysroot.entry_list).default
    if chosen is None or chosen not in known:
        what = "a deployment that boots" if chosen is None else f"deployment {chosen}"
        hint = f"see: {sysroot.command('status')}"
        raise NotFound(f"there is no {what} in {sysroot.root}", hint=hint)
    return chosen


def read_machine_etc(sysroot: Sysroot, deployment: int) -> MachineEtc:
    paths = etc_paths(sysroot, deployment)
    mounted = LIVE if sysroot.is_running and deployment == sysroot.running else None
    if mounted is None:
        tree = read_tree_etc(sysroot, deployment)
        reading = read_layered(tree, paths.upper) if paths.upper.exists() else EtcReader(root=tree)
    else:
        tree, reading = read_directory(TREE).root, read_directory(mounted)
    return make_machine_etc(deployment, paths, tree, reading, mounted=mounted)


def make_machine_etc(
    deployment: int, paths: EtcPaths, tree: Node, reading: EtcReader, *, mounted: Path | None = None
) -> MachineEtc:
    """Put together what was read of an ``/etc``, with the conflicts that are kept beside it."""
    conflicts, unread = find_conflicts(paths.conflicts)
    return MachineEtc(
        deployment=deployment,
        tree=tree,
        live=reading.root,
        skipped=reading.skipped,
        conflicts=conflicts,
        paths=paths,
        mounted=mounted,
        unread=unread,
    )


def read_tree_etc(sysroot: Sysroot, deployment: int) -> Node:
    """The ``/etc`` of a deployment's tree, from the tree's image."""
    tree = read_deployment(sysroot, deployment).tree
    return read_etc_of_tree(open_store(sysroot.atoll), tree)


def read_etc_of_tree(store: Store, tree: TreeId) -> Node:
    etc = read_below(store, tree, "etc")
    if not isinstance(etc, Directory):
        raise Damaged(f"tree {tree} has no /etc")
    return etc_of_tree(etc, partial(read_object, store))


def complete_staged(sysroot: Sysroot, deployment: int) -> tuple[str, ...]:
    """Merge what changed since staging; the paths that did.

    Early boot calls it before the deployment's ``/etc`` is mounted for the first time.
    """

    def read_inputs(source: int) -> MergeInputs:
        old = read_tree_etc(sysroot, source)
        live = read_layered(old, etc_paths(sysroot, source).upper).root
        return MergeInputs(
            source=source, old=old, live=live, new=read_tree_etc(sysroot, deployment)
        )

    return merge_at_first_boot(read_inputs, etc_paths(sysroot, deployment))


def parse_path(text: str, *, etc_too: bool = False) -> str:
    """A path below ``/etc`` as a person names it: whole, or relative to ``/etc``.

    With ``etc_too`` it may be ``/etc`` itself, which is ``""``.
    """
    path = text.rstrip("/")
    if etc_too and path == "/etc":
        return ""
    path = path.removeprefix("/etc/")
    if path == "/etc" or {"..", ".", ""} & set(path.split("/")):
        raise UsageError(
            f"{text!r} is not a path below /etc", hint="for example: /etc/ssh/sshd_config"
        )
    return path


def plan_reset(etc: MachineEtc, path: str) -> tuple[Operation, ...]:
    """Reset ``path`` to the tree's version, which resolves the conflicts there."""
    before, after = node_at(etc.live, path), node_at(etc.tree, path)
    if before is None and after is None:
        changed = [each for each, _ in etc.changes if each]
        raise NotFound(
            f"neither the tree nor the machine has /etc/{path}",
            hint=_list_paths("changed paths", changed),
        )
    left = tuple(each for each in etc.conflicts if not f"{each.path}/".startswith(f"{path}/"))
    if before == after and left == etc.conflicts:
        raise NothingToDo(f"/etc/{path} already matches the tree")
    return plan_change(etc, replaced(etc.live, path, after, parents=etc.tree), left)


def plan_files(
    etc: MachineEtc, files: Mapping[str, bytes | None], modes: Mapping[str, int] = NO_MODES
) -> tuple[Operation, ...]:
    """Write, or with None remove, files in an ``/etc``; paths are relative to it."""
    if not files:
        return ()
    return plan_change(etc, with_files(etc.live, files, modes), etc.conflicts)


def with_files(
    live: Node, files: Mapping[str, bytes | None], modes: Mapping[str, int] = NO_MODES
) -> Node:
    """``live`` with these files, which keep the mode and owner of those that are there already. A
    new one belongs to root, with mode 0644 unless ``modes`` has another."""
    for path, content in files.items():
        before = node_at(live, path)
        if content is None:
            live = replaced(live, path, None) if before is not None else live
            continue
        entry = Entry(kind=Kind.FILE, mode=modes.get(path, 0o644))
        if before is not None and is_file(before):
            entry = before.entry
        live = replaced(live, path, Node(with_content(entry, content)))
    return live


def plan_resolve(etc: MachineEtc, path: str, *, image: bool) -> tuple[Operation, ...]:
    """Resolve the conflict at ``path``, with the image's version or with the machine's."""
    conflict = next((each for each in etc.conflicts if each.path == path), None)
    if conflict is None:
        conflicts = [each.path for each in etc.conflicts]
        raise NotFound(
            f"there is no conflict at /etc/{path}", hint=_list_paths("conflicts", conflicts)
        )
    left = tuple(each for each in etc.conflicts if each != conflict)
    wanted = _take_image_version(etc, conflict) if image else etc.live
    return plan_change(etc, wanted, left)


def _list_paths(what: str, names: list[str]) -> str:
    shown = ", ".join(f"/etc/{path}" for path in names[:LISTED]) or "none"
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{what}: {shown}{more}"


def _take_image_version(etc: MachineEtc, conflict: Conflict) -> Node:
    path, here, image = conflict.path, node_at(etc.live, conflict.path), conflict.image
    if image is not None and here is not None:
        if conflict.attributes:
            image = Node(image.entry, here.children)
        elif path in KEYED and is_file(here) and is_file(image):
            # The machine's own users stay, and so do all ids.
            merge = take_image_records(path, here.entry.read(), image.entry.read())
            if merge.conflicts:
                raise Refused(
                    f"/etc/{path} cannot take the image's version: {'; '.join(merge.conflicts)}",
                    hint=f"the image's version: {etc.paths.conflicts}/image/{path}; edit"
                    f" /etc/{path}, then resolve the conflict with --mine",
                )
            image = Node(with_content(here.entry, merge.content))
    return replaced(etc.live, path, image, parents=etc.tree)


def _plan_forget_good_copy(paths: EtcPaths) -> tuple[Operation, ...]:
    """Remove the copy that the last good boot kept, before the upper directory changes. Early boot
    restores that copy when files of it are missing, so it would undo what a person resets."""
    aside = paths.upper.with_name(f"{paths.upper.name}.new")
    gone = RemovePath(path=aside)
    return tuple(
        operation
        for name in ("good.new", "good")
        for operation in (gone, MoveAside(path=paths.upper.with_name(name), aside=aside), gone)
    )


def plan_change(etc: MachineEtc, wanted: Node, left: tuple[Conflict, ...]) -> tuple[Operation, ...]:
    """Make ``wanted`` of an ``/etc``, with the conflicts that are ``left``.

    The list of conflicts is written last: until then the same command can be repeated.
    """
    if etc.mounted is not None:
        first = plan_live(etc.live, wanted, etc.mounted)
    elif wanted == etc.live:
        first = ()
    else:
        first = (*_plan_forget_good_copy(etc.paths), *plan_upper(wanted, etc.tree, etc.paths.upper))
    return (*first, *(plan_conflicts(left, etc.paths.conflicts) if left != etc.conflicts else ()))
