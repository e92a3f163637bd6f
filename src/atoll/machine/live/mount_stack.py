"""Which mounts are on top of each other at one path, and whose they are.

A mount is recognized by its source, which is what mount(8) was told: ``composefs`` and ``etc`` for
those of early boot, which are the booted deployment's; ``atoll-N`` and ``atoll-etc-N`` for those of
a live change to deployment N; ``atoll-scratch`` for the scratch overlay on ``/usr``.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from atoll.machine.boot.mounts import read_mounts, stack_at

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from atoll.machine.boot.mounts import Mount

SCRATCH = "atoll-scratch"


def tree_source(deployment: int, booted: int | None) -> str:
    return "composefs" if deployment == booted else f"atoll-{deployment}"


def etc_source(deployment: int, booted: int | None) -> str:
    return "etc" if deployment == booted else f"atoll-etc-{deployment}"


def read_stack(point: Path) -> tuple[Mount, ...]:
    """The mounts at ``point`` in this process's namespace, the uppermost first."""
    return stack_at(read_mounts(), point)


def is_scratch(usr: Path) -> bool:
    """Whether the running ``/usr`` is a scratch overlay."""
    stack = read_stack(usr)
    return bool(stack) and stack[0].source == SCRATCH


def list_foreign(mounts: Iterable[Mount], root: Path) -> tuple[str, ...]:
    """Mount points below ``/usr`` and ``/etc`` that a live change could not take along."""
    usr, etc = (PurePosixPath(root / name) for name in ("usr", "etc"))
    local = usr / "local"
    found = {
        f"/{each.point.relative_to(root)}"
        for each in mounts
        if (usr in each.point.parents and each.point != local and local not in each.point.parents)
        or etc in each.point.parents
    }
    return tuple(sorted(found))
