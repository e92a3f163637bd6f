"""What stands where Atoll keeps a directory or a file of its own, and is none: it is kept aside.

A disk that was repaired, a restored backup or a person may leave such a thing. An operation renames
it to ``NAME.displaced-<k>``, as early boot does, and goes on; ``status`` tells of it until a person
has looked at it and removed it. What cannot even be looked at stays where it is.
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
    """And make what a store is never without, if it is gone. Raises OSError for what cannot be
    renamed. The caller holds the machine's lock."""
    _displace((sysroot.atoll / name for name in _DIRECTORIES), stat.S_IFDIR)
    _displace((sysroot.atoll / name for name in _FILES), stat.S_IFREG)
    for name in _OF_STORE:
        make_directory(sysroot.atoll / name, mode=0o700)
    if esp:
        _displace((sysroot.esp / name for name in _ON_ESP), stat.S_IFDIR)


def displace_state(sysroot: Sysroot) -> None:
    """The directory that the lock is in, and the lock: they come before it is held."""
    _displace([sysroot.state], stat.S_IFDIR)
    _displace([sysroot.state / "lock"], stat.S_IFREG)


def find_displaced(sysroot: Sysroot) -> tuple[str, ...]:
    """Where things are that were put aside; none of what this person may not look into."""
    above = (
        sysroot.atoll,
        sysroot.state,
        sysroot.atoll / "refs",
        sysroot.esp,
        sysroot.esp / "atoll",
        sysroot.esp / "loader",
    )
    return tuple(
        f"{folder / name} was where Atoll keeps something else: look at it, then remove it"
        for folder in above
        for name in _seen_in(folder)
        if _DISPLACED.fullmatch(name)
    )


def _displace(paths: Iterable[Path], kind: int) -> None:
    for path in paths:
        displace_stray(path, kind)


def _seen_in(folder: Path) -> list[str]:
    try:
        return list_names(folder)
    except OSError:
        return []
