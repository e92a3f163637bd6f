"""A ``/var`` of a deployment's own: what ``atoll reset`` stages, and how it becomes the shared one.

::

    atoll/var                         the shared /var: all other deployments have it
    atoll/deployments/<n>/var         the new one of deployment <n>, until it was healthy once
    atoll/deployments/<n>/keep-home   an empty file: /home and /root stay those of the shared /var
    atoll/removed-var                 the old one, while it is removed

Early boot (``early-boot.d/reset.sh``) mounts what belongs to the deployment that boots. So nothing
of the old state changes before the new one has proved itself, and a deployment that fails, or is
cancelled, takes its new ``/var`` with it.

Taking over is a list of renames. After each of them the power may fail: what early boot finds then
is the new state, complete.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.host.fs import fsync_directory, make_directory, replace_file
from atoll.host.syscalls import exchange_names
from atoll.machine.deployments.leftovers import REMOVED_VAR
from atoll.machine.deployments.operations import RemovePath

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.sysroot import Sysroot

KEPT = ("home", "root")
"""Directories of /var that are kept with ``keep-home``."""
FRESH = ".atoll-fresh"
"""An empty file in a directory that stands for a kept one."""
ROOTS_HOME_MODE = 0o700


def own_var(sysroot: Sysroot, number: int) -> Path:
    return sysroot.deployments / str(number) / "var"


def keep_home_flag(sysroot: Sysroot, number: int) -> Path:
    return sysroot.deployments / str(number) / "keep-home"


def removed_var(sysroot: Sysroot) -> Path:
    return sysroot.atoll / REMOVED_VAR


def has_own_var(sysroot: Sysroot, number: int) -> bool:
    """Whether a deployment has a /var of its own. Raises OSError when that cannot be told."""
    try:
        return stat.S_ISDIR(own_var(sysroot, number).lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeOwnVar:
    """Make the new /var of deployment ``number``, which is not committed yet."""

    sysroot: Sysroot
    number: int
    keep_home: bool

    def describe(self) -> str:
        return f"make an empty /var for deployment {self.number}"

    def execute(self) -> None:
        var = own_var(self.sysroot, self.number)
        make_directory(var)
        if self.keep_home:
            for name in KEPT:
                make_directory(var / name, mode=ROOTS_HOME_MODE if name == "root" else 0o755)
                replace_file(var / name / FRESH, b"")
            replace_file(keep_home_flag(self.sysroot, self.number), b"")
        fsync_directory(var.parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepDirectory:
    """Exchange a directory that stands for a kept one with that one."""

    own: Path
    shared: Path

    def describe(self) -> str:
        return f"keep {self.shared}"

    def execute(self) -> None:
        is_fresh = [(path / FRESH).exists() for path in (self.own, self.shared)]
        if is_fresh == [True, False] and self.shared.is_dir():
            exchange_names(self.own, self.shared)
            fsync_directory(self.own.parent)
            fsync_directory(self.shared.parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveIfThere:
    """Rename ``path`` to ``target``, unless it was done before. With ``needed``, only while that is
    there."""

    path: Path
    target: Path
    needed: Path | None = None

    def describe(self) -> str:
        return f"move {self.path} to {self.target}"

    def execute(self) -> None:
        if self.needed is not None and not self.needed.is_dir():
            return
        try:
            self.path.rename(self.target)
        except FileNotFoundError:
            return
        fsync_directory(self.target.parent)
        fsync_directory(self.path.parent)


def plan_take_over(sysroot: Sysroot, number: int) -> tuple[Operation, ...]:
    """Make the own /var of deployment ``number`` the shared one, and remove what was there."""
    own, shared, removed = own_var(sysroot, number), sysroot.atoll / "var", removed_var(sysroot)
    flag = keep_home_flag(sysroot, number)
    kept = KEPT if flag.exists() else ()
    return (
        *(KeepDirectory(own=own / name, shared=shared / name) for name in kept),
        RemovePath(path=removed),
        MoveIfThere(path=shared, target=removed, needed=own),
        MoveIfThere(path=own, target=shared),
        RemovePath(path=flag),
        RemovePath(path=removed),
    )
