"""What there is to know of the system that runs, before another one is installed beside it.

The file system of its root is mounted a second time, as early boot will mount it, which shows where
that root is in it: at its top, or in a subvolume of btrfs. So nothing has to be known of
subvolumes, and what cannot be mounted so is found before anything is written.
"""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from atoll.host.fs import OWN_LIMIT, read_regular
from atoll.host.run import require_program, run
from atoll.machine.boot.mounts import MOUNTS, parse_mounts
from atoll.machine.deployments.beside import RECORD

if TYPE_CHECKING:
    from atoll.machine.boot.mounts import Mount

BLOCK_DEVICES = Path("/sys/class/block")
ESP_PLACES = ("/boot/efi", "/efi", "/boot")
FILE_SYSTEMS = ("ext4", "btrfs")
"""Those that early boot mounts as a state partition, and that an older system may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OldMount:
    """A file system that the running system has mounted. ``inside`` is the directory of it that is
    seen there, ``stack`` what kind of device lies between it and a partition: ``LUKS``, ``LVM``,
    ``RAID`` …; empty for none."""

    device: Path
    kind: str
    inside: str = "/"
    stack: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OldSystem:
    """The running system. ``title`` and ``family`` are what its os-release says: its name, and the
    names of the distributions that it is, or is like."""

    title: str
    family: tuple[str, ...]
    root: OldMount
    home: OldMount | None = None
    """Where it is another file system, or another subvolume."""
    esp: Path | None = None
    """The device of the ESP that is mounted."""
    path: str | None = None
    """Where its root directory is in the file system that early boot will mount, without a slash at
    the begin; None where it is not there."""
    free: int = field(default=0, compare=False)
    """Bytes on that file system. They change all the time in a running system, so two readings of
    one system are equal without them."""
    verity: bool = True
    """Whether it can verify files as they are read."""
    recorded: bool = False
    """Whether there is a record of an installation beside this system, complete or interrupted."""
    foreign: bool = False
    """Whether there is an ``/atoll`` that no installation wrote."""
    below_home: tuple[str, ...] = ()
    """Mount points below ``/home``."""


def find_root_mount(mounts: tuple[Mount, ...], devices: Path = BLOCK_DEVICES) -> OldMount:
    """That of ``/``: the last one that the kernel lists covers the others."""
    found = [each for each in mounts if each.point == PurePosixPath("/")][-1]
    return _mount(found, devices)


def describe_system(text: str) -> tuple[str, tuple[str, ...]]:
    """Title and family, from the text of os-release."""
    found = {}
    with suppress(ValueError):
        for word in shlex.split(text, comments=True):
            key, _, value = word.partition("=")
            found[key] = value
    family = (found.get("ID", ""), *found.get("ID_LIKE", "").split())
    title = found.get("PRETTY_NAME") or found.get("NAME") or "the older system"
    return title, tuple(each for each in family if each)


def parse_system(
    mounts: tuple[Mount, ...], release: str, devices: Path = BLOCK_DEVICES
) -> OldSystem:
    """What mounts and os-release say; the rest is seen in the file system itself."""
    title, family = describe_system(release)
    root = find_root_mount(mounts, devices)
    at = {str(each.point): each for each in mounts}
    home = _mount(at["/home"], devices) if "/home" in at else None
    esps = [at[place] for place in ESP_PLACES if place in at and at[place].kind == "vfat"]
    return OldSystem(
        title=title,
        family=family,
        root=root,
        home=home,
        esp=Path(esps[0].source) if esps else None,
        below_home=tuple(sorted(place for place in at if place.startswith("/home/"))),
    )


def find_path(top: Path, inside: str, root: Path = Path("/")) -> str | None:
    """Where the directory ``root`` is below ``top``, its file system as early boot mounts it.

    ``inside`` is what the kernel says of the mount.
    """
    for path in ("", inside.strip("/")):
        with suppress(OSError):
            if (top / path).samefile(root):
                return path
    return None


def has_record(top: Path) -> bool:
    """Whether an installation was begun there."""
    return (top / "atoll" / RECORD).exists()


def is_foreign(top: Path) -> bool:
    """Whether something is in the way that Atoll did not write. A directory that is empty is what a
    power cut has left."""
    place = top / "atoll"
    if not os.path.lexists(place) or has_record(top):
        return False
    return not place.is_dir() or place.is_symlink() or any(place.iterdir())


def read_mounts(root: Path) -> tuple[Mount, ...]:
    """The mounts at and below ``root``, with their places from there."""
    mounts = parse_mounts(
        read_regular(MOUNTS, limit=OWN_LIMIT, follow=True).decode(errors="surrogateescape")
    )
    top = PurePosixPath("/")
    return tuple(
        replace(each, point=top / each.point.relative_to(root))
        for each in mounts
        if each.point.is_relative_to(root)
    )


def read_release(root: Path = Path("/")) -> str:
    for name in ("etc/os-release", "usr/lib/os-release"):
        with suppress(OSError):
            return read_regular(root / name, limit=OWN_LIMIT, follow=True).decode(errors="replace")
    return ""


def can_verify(root: OldMount) -> bool:
    """Whether the file system can verify files as they are read. That of ext4 has to be switched
    on."""
    if root.kind != "ext4":
        return True
    program = require_program("dumpe2fs", package="e2fsprogs")
    said = run([program, "-h", root.device]).decode(errors="replace")
    features = next((line for line in said.splitlines() if line.startswith("Filesystem feat")), "")
    return "verity" in features.split()


def _mount(found: Mount, devices: Path) -> OldMount:
    source = Path(found.source)
    device = source.resolve() if source.is_absolute() else source
    return OldMount(
        device=device, kind=found.kind, inside=str(found.root), stack=_stack(device, devices)
    )


def _stack(device: Path, devices: Path) -> str:
    """What a block device is made by, from sysfs."""
    here = devices / device.name
    try:
        uuid = (here / "dm" / "uuid").read_text()
    except OSError:
        return "RAID" if (here / "md").is_dir() else ""
    kinds = {"CRYPT-LUKS": "LUKS", "CRYPT": "encryption", "LVM": "LVM", "mpath": "multipath"}
    return next((kind for word, kind in kinds.items() if uuid.startswith(word)), "device-mapper")
