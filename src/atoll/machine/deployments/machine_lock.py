"""The machine's lock: one operation at a time, in a mount namespace where it can write.

For all other processes ``/sysroot`` and the ESP stay read-only. The ESP is the file system that is
mounted at ``/boot`` (read-only, by an automount), or the partition that systemd-boot started from.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound
from atoll.host.fs import locked, make_directory, read_if_there, require_root, restrict_to_owner
from atoll.host.mount import enter_private_mounts
from atoll.host.run import run
from atoll.machine.boot.mounts import find_mount
from atoll.machine.deployments.displaced import displace_state, displace_strays
from atoll.machine.deployments.sysroot import BOOT_PARTITION
from atoll.machine.deployments.write_status import publish_or_forget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.machine.deployments.sysroot import Sysroot

WRITABLE_ESP = Path("/run/atoll/esp")
LOADER_PARTITION = Path(
    "/sys/firmware/efi/efivars/LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
)
ESP_OPTIONS = "rw,dirsync,umask=0077,nosuid,nodev,noexec"
"""With dirsync a name is gone from the disk before the clusters behind it are free."""


@contextmanager
def locked_machine(
    sysroot: Sysroot, *, esp: bool = True, published: bool = True
) -> Iterator[Sysroot]:
    """Lock a machine, and make it writable for this process.

    Yields the machine as the operation must use it: with ``esp``, its ESP is mounted writable at
    another path. Without ``published`` the public status is not updated, which would read kernel
    and tree. Raises Busy, MissingPrivilege, or NotFound when the ESP is not found.
    """
    with ExitStack() as stack:
        if sysroot.is_running:
            require_root("changing the machine")
            if esp:
                _trigger_automount(sysroot.esp)
            enter_private_mounts()
            run(["mount", "-o", "remount,bind,rw", sysroot.root])
        restrict_to_owner(sysroot.atoll)
        displace_state(sysroot)
        make_directory(sysroot.state)
        what = f"the machine in {sysroot.root}"
        stack.enter_context(locked(sysroot.state / "lock", what=what))
        if esp and sysroot.is_running:
            sysroot = replace(sysroot, esp=stack.enter_context(_writable_esp(sysroot)))
        displace_strays(sysroot, esp=esp)
        try:
            yield sysroot
        finally:
            if sysroot.is_running and published:
                publish_or_forget(sysroot, when=int(time.time()))


def _trigger_automount(directory: Path) -> None:
    """Trigger the automount of ``directory`` now: systemd mounts in the mount namespace of the
    whole system, which this process is about to leave."""
    try:
        os.listdir(directory)  # noqa: PTH208  # the names are not needed
    except OSError:
        return


@contextmanager
def _writable_esp(sysroot: Sysroot) -> Iterator[Path]:
    """Mount the ESP writable at ``WRITABLE_ESP``.

    If it is mounted read-only at its usual place, mounting the device again would give the same
    read-only superblock. So that mount is bound to the new place, and the superblock is remounted
    writable; the mount there stays read-only for other processes.
    """
    WRITABLE_ESP.mkdir(mode=0o700, parents=True, exist_ok=True)
    seen = sysroot.esp
    mount = find_mount(seen) if seen.is_dir() else None
    if mount is not None and mount.point == PurePosixPath(seen):
        run(["mount", "--bind", seen, WRITABLE_ESP])
        _remount("rw")
    else:
        run(["mount", "-t", "vfat", "-o", ESP_OPTIONS, _esp_device(sysroot), WRITABLE_ESP])
    try:
        yield WRITABLE_ESP
    finally:
        _remount("ro")
        run(["umount", "--lazy", WRITABLE_ESP])


def _remount(mode: str) -> None:
    """Remount with mount(2): with fsconfig(2), mount(8) passes all options of the file system
    again, and Linux 6.12 refuses options of FAT in a remount."""
    env = {**os.environ, "LIBMOUNT_FORCE_MOUNT2": "always"}
    run(["mount", "-o", f"remount,{mode}", WRITABLE_ESP], env=env)


def _esp_device(sysroot: Sysroot) -> Path:
    """The partition with kernels and entries, by what the installation wrote down, else the one
    that systemd-boot was started from."""
    written = read_if_there(sysroot.state / BOOT_PARTITION)
    try:
        # In efivarfs four bytes of attributes, then UTF-16 with a zero at its end.
        name = (
            LOADER_PARTITION.read_bytes()[4:].decode("utf-16-le").rstrip("\0")
            if written is None
            else written.decode().strip()
        ).lower()
    except (OSError, UnicodeDecodeError):
        name = ""
    device = Path("/dev/disk/by-partuuid") / name
    if not name or not device.exists():
        raise NotFound(
            "the EFI system partition was not found: systemd-boot did not report where it started",
            hint="mount it at /boot, then try again",
        )
    return device
