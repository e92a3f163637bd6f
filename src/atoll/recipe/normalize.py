"""What a build leaves behind that no two builds, or no two machines, should share: taken away.

Two builds of the same packages give the same bytes: backups, logs, caches and dates that only tell
of the build go away. What makes a machine that machine (its id, its keys, its name server) is
never in a tree.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY = 86400
_LEFTOVERS = (
    "etc/.pwd.lock", "etc/.resolv.conf.systemd-resolved.bak", "etc/.updated", "var/.updated",
    "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "etc/subuid-", "etc/subgid-",
    "etc/apt/apt.conf.d/99mmdebstrap", "etc/mailname", "etc/ssl/private/ssl-cert-snakeoil.key",
    "etc/ssl/certs/ssl-cert-snakeoil.pem", "etc/udev/hwdb.bin", ".dockerenv",
    "usr/sbin/policy-rc.d", "etc/random-seed", "usr/share/info/dir.old",
)  # fmt: skip
_SUFFIXES = (".dpkg-old", ".dpkg-dist", ".dpkg-new", ".dpkg-tmp", ".ucf-old", ".ucf-dist")
_IN_DATABASE = (
    "dpkg/status-old", "dpkg/available-old", "dpkg/diversions-old", "dpkg/statoverride-old",
    "dpkg/lock", "dpkg/lock-frontend", "dpkg/triggers/Lock", "dpkg/available",
)  # fmt: skip
_STUB_RESOLVER = "../run/systemd/resolve/stub-resolv.conf"
_NETWORK_MANAGER = "../run/NetworkManager/resolv.conf"
_PYC = struct.Struct("<4sII")


def normalize(root: Path, epoch: int) -> None:
    """Take every trace of this build out of a shaped ``root``."""
    for name in _LEFTOVERS:
        (root / name).unlink(missing_ok=True)
    for path in _leftover_files(root / "etc"):
        path.unlink()
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (root / "etc/machine-id").write_text("uninitialized\n")
    (root / "etc/machine-id").chmod(0o444)
    (root / "etc/fstab").write_text("# The tree's own mounts are made in early boot.\n")
    set_resolver(root)
    set_shadow_dates(root / "etc/shadow", epoch)
    clean_tree_var(root / "usr/lib/atoll/var")
    settle_bytecode(root / "usr", epoch)
    mark_updated(root / "etc/.updated", epoch)


def set_resolver(root: Path) -> None:
    """Let /etc/resolv.conf lead to whatever resolver the tree has; without one, to nothing yet."""
    link = root / "etc/resolv.conf"
    link.unlink(missing_ok=True)
    if (root / "usr/lib/systemd/systemd-resolved").exists():
        link.symlink_to(_STUB_RESOLVER)
    elif (root / "usr/sbin/NetworkManager").exists():
        link.symlink_to(_NETWORK_MANAGER)


def set_shadow_dates(shadow: Path, epoch: int) -> None:
    """Say that passwords were last changed on the day of the epoch, not of the build."""
    if shadow.exists():
        text = format_shadow_dates(shadow.read_text(errors="surrogateescape"), epoch // DAY)
        shadow.write_text(text, errors="surrogateescape")


def format_shadow_dates(text: str, day: int) -> str:
    lines = []
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2] not in ("", "0"):
            fields[2] = str(day)
        lines.append(":".join(fields))
    return "".join(f"{line}\n" for line in lines)


def clean_tree_var(var: Path) -> None:
    """Old copies and locks in the databases that travel with the tree."""
    for name in _IN_DATABASE:
        (var / "lib" / name).unlink(missing_ok=True)
    for path in (var / "cache/debconf").glob("*-old"):
        path.unlink()
    for path in (var / "lib/ucf").glob("*.[0-9]"):
        path.unlink()
    for path in (var / "lib").glob("sgml-base/*.old"):
        path.unlink()
    for path in sorted((var / "lib/texmf").rglob("*.log")):
        path.unlink()


def settle_bytecode(usr: Path, epoch: int) -> None:
    """Keep compiled Python valid: its source's time, where it is clamped to the epoch, is in it."""
    for cache in usr.rglob("__pycache__"):
        for path in cache.glob("*.pyc"):
            with path.open("r+b") as file:
                head = file.read(_PYC.size)
                if len(head) < _PYC.size:
                    continue
                magic, flags, time = _PYC.unpack(head)
                if flags == 0 and time > epoch:
                    file.seek(0)
                    file.write(_PYC.pack(magic, flags, epoch))


def mark_updated(path: Path, epoch: int) -> None:
    """Tell systemd that /etc fits /usr, so that it rebuilds nothing there at boot."""
    path.write_text("")
    os.utime(path, (epoch, epoch))


def _leftover_files(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.rglob("*")):
        if path.name.endswith(_SUFFIXES) and not path.is_dir():
            yield path
