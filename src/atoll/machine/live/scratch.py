"""The scratch overlay: a writable ``/usr`` for experiments, in memory, until it is discarded.

It takes the place of the running ``/usr`` as a live change does, and nothing else reads it:
deployments, updates and the initrd come from the store. A live change is refused meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import NothingToDo
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.live.mount_stack import SCRATCH, is_scratch, tree_source
from atoll.machine.live.operations import AttachBeneath, DetachUppers, MountHere

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.host.mount_syscalls import MountNamespace
    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.live.record import LivePlaces


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeOverlayDirectories:
    upper: Path
    work: Path

    def describe(self) -> str:
        return "make the directories of the scratch overlay"

    def execute(self) -> None:
        self.upper.mkdir(mode=0o755)
        self.work.mkdir(mode=0o700)


def make_scratch(places: LivePlaces, namespace: MountNamespace, size: int) -> None:
    """Make ``/usr`` writable; changes may take ``size`` bytes of memory. Raises NothingToDo.

    This process has private mounts; ``namespace`` is that of the running system.
    """
    if is_scratch(places.root / "usr"):
        raise NothingToDo(
            "/usr has a scratch overlay already", hint="to remove it: atoll scratch --discard"
        )
    apply_operations(plan_scratch(places, namespace, size))


def discard_scratch(sysroot: Sysroot, places: LivePlaces, namespace: MountNamespace) -> None:
    """Show the running deployment's ``/usr`` again, without the changes. Raises NothingToDo."""
    if not is_scratch(places.root / "usr"):
        raise NothingToDo("/usr has no scratch overlay")
    assert sysroot.running is not None, "a machine in a directory has no running /usr"
    source = tree_source(sysroot.running, sysroot.booted)
    usr = MountHere(target=places.work / "usr", words=("--bind", places.run / "tree/usr"))
    apply_operations((usr, *_plan_exchange(places, namespace, source)))


def plan_scratch(places: LivePlaces, namespace: MountNamespace, size: int) -> tuple[Operation, ...]:
    memory, lower = places.work / "scratch", places.run / "tree/usr"
    upper, work = memory / "upper", memory / "work"
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    options += ",redirect_dir=off,metacopy=off,index=off,xino=off"
    return (
        MountHere(target=memory, words=("-t", "tmpfs", "-o", f"size={size}", SCRATCH)),
        MakeOverlayDirectories(upper=upper, work=work),
        MountHere(target=places.work / "usr", words=("-t", "overlay", "-o", options, SCRATCH)),
        *_plan_exchange(places, namespace, SCRATCH),
    )


def _plan_exchange(
    places: LivePlaces, namespace: MountNamespace, source: str
) -> tuple[Operation, ...]:
    """Put what is mounted at ``work/usr`` in the place of ``/usr``, with ``/usr/local`` on it."""
    prepared, usr = places.work / "usr", places.root / "usr"
    return (
        MountHere(target=prepared / "local", words=("--rbind", usr / "local")),
        AttachBeneath(namespace=namespace, prepared=prepared, target=usr, source=source),
        DetachUppers(namespace=namespace, mounts=((usr, source),)),
    )
