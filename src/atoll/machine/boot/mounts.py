"""The kernel's list of mounts: what is on top at a path, on which FAT volume one is; from proc(5)::

36 35 259:1 /  /boot ro,nosuid … shared:1 - vfat /dev/nvme0n1p1 rw,umask=0077
|  |  |     |  |     |           |          |    |              options of the volume
|  |  |     |  |     options     tags, "-"  type source
|  |  |     |  where it is mounted
ids   |     what of the volume is: its root, or a directory below it
      number of the device
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from atoll.base.errors import MissingPrivilege, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

MOUNTS = Path("/proc/self/mountinfo")
DEVICES = Path("/dev/block")
_FAT_TYPES = ("vfat", "msdos")
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """``root`` is the directory of the volume that is seen at ``point``.

    ``number`` and ``parent`` are ids of mounts. ``options`` are those of the mount and of its file
    system.
    """

    device: int
    root: PurePosixPath
    point: PurePosixPath
    kind: str
    source: str
    number: int = 0
    parent: int = 0
    options: frozenset[str] = frozenset()


def parse_mounts(text: str) -> tuple[Mount, ...]:
    """Lines that are well-formed, in order: a later mount may cover an earlier one."""
    mounts = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        words, rest = before.split(" "), after.split(" ")
        major, _, minor = words[2].partition(":") if len(words) > 5 else ("", "", "")
        ids = (major, minor, words[0], words[1] if len(words) > 1 else "")
        if all(each.isdecimal() for each in ids) and len(rest) > 1:
            mounts.append(
                Mount(
                    device=os.makedev(int(major), int(minor)),
                    root=PurePosixPath(_plain(words[3])),
                    point=PurePosixPath(_plain(words[4])),
                    kind=rest[0],
                    source=_plain(rest[1]),
                    number=int(words[0]),
                    parent=int(words[1]),
                    options=frozenset((*words[5].split(","), *rest[-1].split(","))),
                )
            )
    return tuple(mounts)


def read_mounts(place: Path | None = None) -> tuple[Mount, ...]:
    """All mounts of this process's namespace, or of the one that ``place`` lists, in the kernel's
    order. Raises OSError."""
    return parse_mounts((place or MOUNTS).read_text(errors="surrogateescape"))


def stack_at(mounts: Iterable[Mount], point: Path) -> tuple[Mount, ...]:
    """The mounts at ``point``, the uppermost first."""
    here = {each.number: each for each in mounts if each.point == PurePosixPath(point)}
    parents = {each.parent for each in here.values()}
    top = next((each for each in here.values() if each.number not in parents), None)
    stack = []
    while top is not None:
        stack.append(top)
        top = here.get(top.parent)
    return tuple(stack)


def find_fat_mount(
    mounts: tuple[Mount, ...], directory: PurePosixPath, device: int
) -> Mount | None:
    """The mount of FAT by which ``directory``, a real path on ``device``, is seen."""
    fitting = [
        mount
        for mount in mounts
        if mount.device == device
        and mount.kind in _FAT_TYPES
        and directory.is_relative_to(mount.point)
    ]
    return max(fitting, key=lambda mount: len(mount.point.parts), default=None)


def find_mount(directory: Path) -> Mount | None:
    """The mount that an existing directory is on, when that is of FAT."""
    try:
        # Opening it, unlike asking what it is, starts an automount.
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFound(f"there is no directory {directory}") from error
    except NotADirectoryError as error:
        raise NotFound(f"{directory} is not a directory") from error
    except PermissionError as error:
        raise MissingPrivilege(
            f"{directory} may not be read", hint="try again with sudo"
        ) from error
    try:
        device = os.fstat(handle).st_dev
        mounts = read_mounts()
    except FileNotFoundError as error:
        raise NotFound(f"{MOUNTS} is not there", hint="mount proc at /proc") from error
    finally:
        os.close(handle)
    return find_fat_mount(mounts, PurePosixPath(directory.resolve()), device)


def find_device(mount: Mount) -> Path:
    """The block device of a mount, by its number: its name may have changed since."""
    numbered = DEVICES / f"{os.major(mount.device)}:{os.minor(mount.device)}"
    for path in (numbered, Path(mount.source)):
        try:
            found = path.stat()
        except OSError:
            continue  # the next one may be there
        if stat.S_ISBLK(found.st_mode) and found.st_rdev == mount.device:
            return path
    raise NotFound(
        f"the device of {mount.point} is not in /dev: {mount.source}",
        hint=f"see: findmnt {mount.point}",
    )


def _plain(word: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), word)
