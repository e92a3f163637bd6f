"""Reading the system that runs, for an installation beside it; nothing is changed."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from atoll.host.fs import OWN_LIMIT, read_regular
from atoll.installer.apply.install_on_disk import WORK, mounted
from atoll.installer.beside.carry import OldSettings
from atoll.installer.beside.old_system import (
    FILE_SYSTEMS,
    OldSystem,
    can_verify,
    find_path,
    has_record,
    is_foreign,
    parse_system,
    read_mounts,
    read_release,
)
from atoll.machine.etc.read import read_directory

LOOK = WORK / "look"
TOP_OPTIONS = "noatime,nosuid,nodev"


def read_running_system(root: Path = Path("/")) -> OldSystem:
    """In a mount namespace of this process: the file system is mounted to look at it."""
    system = parse_system(read_mounts(root), read_release(root))
    mount = system.root
    if mount.kind not in FILE_SYSTEMS or mount.stack or not mount.device.is_block_device():
        return system
    with mounted(mount.device, LOOK, mount.kind, TOP_OPTIONS) as top:
        space = os.statvfs(top)
        return replace(
            system,
            path=find_path(top, mount.inside, root),
            free=space.f_bavail * space.f_frsize,
            verity=can_verify(mount),
            recorded=has_record(top),
            foreign=is_foreign(top),
        )


def read_running_settings(root: Path = Path("/")) -> OldSettings:
    keys = b""
    with suppress(FileNotFoundError):
        keys = read_regular(root / "root/.ssh/authorized_keys", limit=OWN_LIMIT, follow=True)
    return OldSettings(etc=read_directory(root / "etc").root, root_keys=keys)
