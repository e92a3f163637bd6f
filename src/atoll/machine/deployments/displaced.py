"""What stands where Atoll keeps a directory or a file of its own, and is none: it is kept aside.

A disk that was repaired, a restored backup or a person may leave such a thing. An operation renames
it to ``NAME.displaced-<k>``, as early boot does, and goes on; ``status`` tells of it until a person
has looked at it and removed it. What cannot even be looked at stays where it is.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from atoll.host.fs import fsync_directory, is_absent, make_directory, names_in

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


def displace_stray(path: Path, kind: int) -> None:
    """Rename ``path`` unless it is of ``kind`` (a file type of stat(2)), leads to such, or is not
    there."""
    try:
        found = stat.S_IFMT(path.stat().st_mode)
    except OSError as error:
        if not is_absent(error) and not path.is_symlink():
            return  # what cannot be looked at may be what it should be
        if not os.path.lexists(path):
            return
        found = 0  # a link that leads nowhere
    if found == kind:
        return
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.displaced-{number}")):
        number += 1
    path.rename(aside)
    fsync_directory(path.parent)


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
        return names_in(folder)
    except OSError:
        return []
