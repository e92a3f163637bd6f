"""Move aside what is in the way of Atoll's own files and directories: a file where it needs a
directory, or the reverse.

Repairing a file system, restoring a backup or a person may cause this. An operation renames the
obstacle to ``NAME.displaced-<k>``, as early boot does, and continues. ``status`` reports it until a
person has looked at it and removed it. An obstacle that cannot be examined stays where it is.
"""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING

from atoll.host.fs import displace_stray, list_names, make_directory

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from atoll.machine.deployments.sysroot import Sysroot

_DIRECTORIES = (
    "state/pinned",
    "state/blessed",
    "state/held",
    "state/tries",
    "state/conflicts",
    "var",
    "staging",
    "refs",
    "layers",
    "downloads",
)
_FILES = (
    "state/lock",
    "state/numbers.json",
    "state/history",
    "state/entries.json",
    "store-lock",
    "refs/downloaded.json",
)
_OF_STORE = ("staging", "refs")
_ON_ESP = ("atoll", "loader", "loader/entries")
_DISPLACED = re.compile(r".+\.displaced-[1-9][0-9]*")


def displace_strays(sysroot: Sysroot, *, esp: bool) -> None:
    """Move obstacles aside, and create missing directories of the store. Raises OSError when an
    obstacle cannot be renamed. The caller holds the machine's lock."""
    _displace((sysroot.atoll / name for name in _DIRECTORIES), stat.S_IFDIR)
    _displace((sysroot.atoll / name for name in _FILES), stat.S_IFREG)
    for name in _OF_STORE:
        make_directory(sysroot.atoll / name, mode=0o700)
    if esp:
        _displace((sysroot.esp / name for name in _ON_ESP), stat.S_IFDIR)


def displace_state(sysroot: Sysroot) -> None:
    """Move obstacles aside at the lock and its directory: this must happen before locking."""
    _displace([sysroot.state], stat.S_IFDIR)
    _displace([sysroot.state / "lock"], stat.S_IFREG)


def find_displaced(sysroot: Sysroot) -> tuple[str, ...]:
    """Reports of displaced files, for each directory that this user may read."""
    folders = (
        sysroot.atoll,
        sysroot.state,
        sysroot.atoll / "refs",
        sysroot.esp,
        sysroot.esp / "atoll",
        sysroot.esp / "loader",
    )
    return tuple(
        f"{folder / name} was where Atoll keeps something else: look at it, then remove it"
        for folder in folders
        for name in _readable_names(folder)
        if _DISPLACED.fullmatch(name)
    )


def _displace(paths: Iterable[Path], kind: int) -> None:
    for path in paths:
        displace_stray(path, kind)


def _readable_names(folder: Path) -> list[str]:
    try:
        return list_names(folder)
    except OSError:
        return []
