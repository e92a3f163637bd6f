"""Remove traces of the build, and identities of a machine, from a root.

Two builds of the same packages must give the same bytes, so backups, logs, caches and dates that
depend on the build go away. The identity of a machine (its id, its keys, its name server) must
never be in a tree.
"""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import Refused
from atoll.builder.finish.icon_cache import (
    format_icon_cache,
    limit_icons,
    parse_icon_cache,
    parse_theme_directories,
)
from atoll.builder.finish.identities import drop_identities
from atoll.host.in_root import exists_in_root, glob_in_root, in_root, write_text
from atoll.image.paths import TREE_VAR

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY = 86400
_LEFTOVERS = (
    "etc/.pwd.lock",
    "etc/.resolv.conf.systemd-resolved.bak",
    "etc/.updated",
    "var/.updated",
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "etc/subuid-",
    "etc/subgid-",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/mailname",
    "etc/udev/hwdb.bin",
    ".dockerenv",
    "usr/sbin/policy-rc.d",
    "etc/random-seed",
    "usr/share/info/dir.old",
)
_SUFFIXES = (".dpkg-old", ".dpkg-dist", ".dpkg-new", ".dpkg-tmp", ".ucf-old", ".ucf-dist")
_IN_DATABASE = (
    "dpkg/status-old",
    "dpkg/available-old",
    "dpkg/diversions-old",
    "dpkg/statoverride-old",
    "dpkg/lock",
    "dpkg/lock-frontend",
    "dpkg/triggers/Lock",
    "dpkg/available",
)
_STUB_RESOLVER = "../run/systemd/resolve/stub-resolv.conf"
_NETWORK_MANAGER = "../run/NetworkManager/resolv.conf"
_ICONS = "usr/share/icons"
_PYC = struct.Struct("<4sII")


def check_clock(epoch: int, *, now: float | None = None) -> None:
    """Raises Refused when the machine's time is before the epoch (both in seconds).

    Times later than the epoch are clamped to it. Files that a build writes must therefore be later,
    or their times would differ between builds.
    """
    if (time.time() if now is None else now) < epoch:
        shown = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(epoch))
        raise Refused(
            f"the clock of this machine is behind the build's epoch, {shown} UTC",
            hint="set the clock, or set an earlier SOURCE_DATE_EPOCH",
        )


def normalize(root: Path, epoch: int) -> None:
    """Remove every trace of this build from ``root``, which has the image layout."""
    for name in _LEFTOVERS:
        in_root(root, name, follow=False).unlink(missing_ok=True)
    for path in _leftover_files(in_root(root, "etc")):
        path.unlink()
    drop_identities(root)
    write_text(root, "etc/machine-id", "uninitialized\n", mode=0o444)
    write_text(root, "etc/fstab", "# The tree's own mounts are made in early boot.\n")
    set_resolver(root)
    set_shadow_dates(in_root(root, "etc/shadow"), epoch)
    clean_tree_var(in_root(root, TREE_VAR))
    clamp_bytecode_times(in_root(root, "usr"), epoch)
    rewrite_icon_caches(root)
    mark_updated(in_root(root, "etc/.updated", follow=False), epoch)


def set_resolver(root: Path) -> None:
    """Link /etc/resolv.conf to the resolver that the root has; without one, remove it."""
    link = in_root(root, "etc/resolv.conf", follow=False)
    link.unlink(missing_ok=True)
    if exists_in_root(root, "usr/lib/systemd/systemd-resolved"):
        link.symlink_to(_STUB_RESOLVER)
    elif exists_in_root(root, "usr/sbin/NetworkManager"):
        link.symlink_to(_NETWORK_MANAGER)


def set_shadow_dates(shadow: Path, epoch: int) -> None:
    """Set the day of the last password change to that of the epoch: useradd records the build's."""
    if shadow.exists():
        text = format_shadow_dates(shadow.read_text(errors="surrogateescape"), epoch // DAY)
        shadow.write_text(text, errors="surrogateescape")


def format_shadow_dates(text: str, day: int) -> str:
    """The text of shadow(5) with ``day`` (days since 1970) in its third field, where that is
    set."""
    lines = []
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2] not in ("", "0"):
            fields[2] = str(day)
        lines.append(":".join(fields))
    return "".join(f"{line}\n" for line in lines)


def clean_tree_var(var: Path) -> None:
    """Remove backups, locks and logs from the tree-owned directories."""
    for name in _IN_DATABASE:
        in_root(var, f"lib/{name}", follow=False).unlink(missing_ok=True)
    for folder, pattern in (
        ("cache/debconf", "*-old"),
        ("lib/ucf", "*.[0-9]"),
        ("lib/sgml-base", "*.old"),
    ):
        for path in glob_in_root(var, folder, pattern):
            path.unlink()
    for path in sorted(in_root(var, "lib/texmf").rglob("*.log")):
        path.unlink()


def clamp_bytecode_times(usr: Path, epoch: int) -> None:
    """Clamp the source times in .pyc files to the epoch, as the times of their sources will be:
    otherwise Python would ignore these files."""
    for folder, _, names in os.walk(usr):
        if folder.endswith("/__pycache__"):
            for name in names:
                if name.endswith(".pyc"):
                    _clamp_source_time(Path(folder, name), epoch)


def _clamp_source_time(path: Path, epoch: int) -> None:
    """Files that are right are not opened for writing: the overlay would copy them up."""
    if path.is_symlink() or not path.is_file():
        return
    with path.open("rb") as file:
        head = file.read(_PYC.size)
    if len(head) < _PYC.size:
        return
    magic, flags, time = _PYC.unpack(head)
    if flags == 0 and time > epoch:
        with path.open("r+b") as file:
            file.write(_PYC.pack(magic, flags, epoch))


def rewrite_icon_caches(root: Path) -> None:
    """Rewrite GTK's icon caches in a fixed order (``icon_cache``)."""
    for folder in glob_in_root(root, _ICONS, "*"):
        path = folder / "icon-theme.cache"
        if folder.is_symlink() or path.is_symlink() or not path.is_file():
            continue
        theme = in_root(root, f"{_ICONS}/{folder.name}/index.theme")
        if not theme.is_file():
            continue
        cache = parse_icon_cache(path.read_bytes())
        directories = parse_theme_directories(theme.read_bytes())
        if cache is not None and directories:
            path.write_bytes(format_icon_cache(limit_icons(cache, directories)))


def mark_updated(path: Path, epoch: int) -> None:
    """Give /etc/.updated the time of /usr, so that units with ConditionNeedsUpdate= do not run."""
    path.unlink(missing_ok=True)
    path.write_text("")
    os.utime(path, (epoch, epoch))


def _leftover_files(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.rglob("*")):
        if path.name.endswith(_SUFFIXES) and not path.is_dir():
            yield path
