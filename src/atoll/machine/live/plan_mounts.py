"""The mounts of a live change: what is prepared, and in which order it is exchanged. Pure.

The order of the exchange is ``/usr`` first, then ``/etc``, then the unchanged tree and its ``/etc``
in ``/run/atoll``, then what the tree has in ``/var`` and ``/opt``. Where only one of the two
systems has a mount, it is attached or detached last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.image.paths import ATOLL
from atoll.machine.live.operations import (
    AttachBeneath,
    AttachNew,
    DetachOld,
    DetachUppers,
    MountHere,
)

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.base.ids import TreeId
    from atoll.host.mount_syscalls import MountNamespace
    from atoll.machine.deployments.operations import Operation
    from atoll.machine.live.check import TreeFacts
    from atoll.machine.live.record import LivePlaces


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveMounts:
    """``atoll`` is the machine's directory of that name, ``booted`` whether the target is the
    deployment that was booted, ``etc`` the target's directory of that name with ``upper``.

    ``source``, ``tree`` and ``etc_name`` name mounts: the running tree's, the target's, and that of
    the target's ``/etc``.
    """

    places: LivePlaces
    namespace: MountNamespace
    atoll: Path
    digest: TreeId
    etc: Path
    booted: bool
    verity: bool
    source: str
    tree: str
    etc_name: str
    running: TreeFacts
    target: TreeFacts

    @property
    def work(self) -> Path:
        return self.places.work


def plan_tree_mounts(mounts: LiveMounts) -> tuple[Operation, ...]:
    """Mount the target's tree in this process's namespace, and its ``/usr`` with ``/usr/local``."""
    work = mounts.work
    tree, usr = work / "tree", work / "usr"
    return (
        *_plan_tree(mounts, tree),
        MountHere(target=usr, words=("--bind", tree / "usr")),
        MountHere(target=usr / "local", words=("--rbind", mounts.places.root / "usr/local")),
    )


def _plan_tree(mounts: LiveMounts, tree: Path) -> tuple[Operation, ...]:
    if mounts.booted:
        # A bind mount of / alone has none of the mounts on it: it is the tree as it was built.
        return (MountHere(target=tree, words=("--bind", mounts.places.root)),)
    image = mounts.work / "image"
    options = f"ro,lowerdir={image}::{mounts.atoll / 'objects'},metacopy=on,redirect_dir=on"
    options += ",verity=require" if mounts.verity else ""
    composefs = mounts.atoll / "images" / mounts.digest
    return (
        MountHere(target=image, words=("-t", "erofs", "-o", "ro", composefs)),
        MountHere(target=tree, words=("-t", "overlay", "-o", options, mounts.tree)),
    )


def plan_etc_mount(mounts: LiveMounts) -> tuple[Operation, ...]:
    """The options are those of early boot (``early-boot.d/etc.sh``)."""
    lower = mounts.work / "tree/etc"
    options = f"lowerdir={lower},upperdir={mounts.etc / 'upper'},workdir={mounts.etc / 'work'}"
    options += ",redirect_dir=off,metacopy=off,index=off,xino=off"
    words = ("-t", "overlay", "-o", options, mounts.etc_name)
    return (MountHere(target=mounts.work / "etc", words=words),)


def plan_attach(mounts: LiveMounts, *, etc: bool) -> tuple[Operation, ...]:
    """Attach ``/etc``, or everything else, beneath what is there: nothing is seen of it yet."""
    return tuple(
        AttachBeneath(namespace=mounts.namespace, prepared=prepared, target=target, source=source)
        for target, prepared, source in _exchanged(mounts)
        if (source == mounts.etc_name) == etc
    )


def plan_exchange(mounts: LiveMounts) -> tuple[Operation, ...]:
    """Make the target's mounts the visible ones."""
    root, namespace = mounts.places.root, mounts.namespace
    own, other = _directories(mounts.target), _directories(mounts.running)
    return (
        DetachUppers(
            namespace=namespace,
            mounts=tuple((target, source) for target, _, source in _exchanged(mounts)),
        ),
        *(
            AttachNew(
                namespace=namespace,
                prepared=mounts.work / "tree" / own[path],
                target=root / path,
                source=mounts.tree,
            )
            for path in sorted(own.keys() - other.keys())
        ),
        *(
            DetachOld(namespace=namespace, target=root / path, source=mounts.source)
            for path in sorted(other.keys() - own.keys())
        ),
    )


def _exchanged(mounts: LiveMounts) -> list[tuple[Path, Path, str]]:
    """Mount point, what was prepared for it, and the name of that mount."""
    root, run, work = mounts.places.root, mounts.places.run, mounts.work
    own, other = _directories(mounts.target), _directories(mounts.running)
    tree = work / "tree"
    return [
        (root / "usr", work / "usr", mounts.tree),
        (root / "etc", work / "etc", mounts.etc_name),
        (run / "tree", tree, mounts.tree),
        (run / "tree-etc", tree / "etc", mounts.tree),
        *(
            (root / path, tree / own[path], mounts.tree)
            for path in sorted(own.keys() & other.keys())
        ),
    ]


def _directories(facts: TreeFacts) -> dict[str, str]:
    """Mount points of the tree in ``/var`` and ``/opt``, and where in the tree their content is."""
    owned = {path.lstrip("/"): f"{ATOLL}{path}" for path in facts.owned}
    return owned | {f"opt/{name}": f"usr/lib/opt/{name}" for name in facts.opt}
