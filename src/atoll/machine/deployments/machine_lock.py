"""The machine's lock: one operation at a time, in a mount namespace where it can write.

For all other processes ``/sysroot`` and the ESP stay read-only. The ESP is the file system that is
mounted at ``/boot`` (read-only, by an automount), or the partition that systemd-boot started from.
Where kernels and entries have a partition of their own, that one is at ``/boot`` and the ESP at
``/efi``.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, NotFound
from atoll.host.fs import locked, make_directory, read_if_there, require_root, restrict_to_owner
from atoll.host.mount import enter_private_mounts
from atoll.host.run import run
from atoll.machine.boot.mounts import find_mount
from atoll.machine.deployments.displaced import displace_state, displace_strays
from atoll.machine.deployments.sysroot import BOOT_PARTITION
from atoll.machine.deployments.write_status import publish_or_forget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from atoll.machine.deployments.sysroot import Sysroot

WRITABLE_ESP = Path("/run/atoll/esp")
WRITABLE_LOADER = Path("/run/atoll/loader")
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
                _trigger_automount(sysroot.loader_esp)
            enter_private_mounts()
            run(["mount", "-o", "remount,bind,rw", sysroot.root])
        restrict_to_owner(sysroot.atoll)
        displace_state(sysroot)
        make_directory(sysroot.state)
        what = f"the machine in {sysroot.root}"
        stack.enter_context(locked(sysroot.state / "lock", what=what))
        if esp and sysroot.is_running:
            device = partial(_kernel_device, sysroot)
            mounted = stack.enter_context(_writable(sysroot.esp, WRITABLE_ESP, device))
            sysroot = replace(sysroot, esp=mounted, loader=_writable_loader(sysroot, stack))
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
def _writable(seen: Path, place: Path, find_device: Callable[[], Path]) -> Iterator[Path]:
    """Mount a FAT volume writable at ``place``: the one that is mounted at ``seen``, else that of
    ``find_device``.

    If it is mounted read-only at its usual place, mounting the device again would give the same
    read-only superblock. So that mount is bound to the new place, and the superblock is remounted
    writable; the mount there stays read-only for other processes.
    """
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    mount = find_mount(seen) if seen.is_dir() else None
    if mount is not None and mount.point == PurePosixPath(seen):
        run(["mount", "--bind", seen, place])
        _remount(place, "rw")
    else:
        run(["mount", "-t", "vfat", "-o", ESP_OPTIONS, find_device(), place])
    try:
        yield place
    finally:
        _remount(place, "ro")
        run(["umount", "--lazy", place])


def _writable_loader(sysroot: Sysroot, stack: ExitStack) -> Path | None:
    """The ESP, where kernels are on a partition of their own. Only the boot loader's update needs
    it: where it cannot be mounted, the directory is empty, and no loader is found to update."""
    if sysroot.loader is None:
        return None
    with suppress(AtollError, OSError):
        stack.enter_context(_writable(sysroot.loader, WRITABLE_LOADER, _loader_device))
    return WRITABLE_LOADER


def _remount(place: Path, mode: str) -> None:
    """Remount with mount(2): with fsconfig(2), mount(8) passes all options of the file system
    again, and Linux 6.12 refuses options of FAT in a remount."""
    env = {**os.environ, "LIBMOUNT_FORCE_MOUNT2": "always"}
    run(["mount", "-o", f"remount,{mode}", place], env=env)


def _kernel_device(sysroot: Sysroot) -> Path:
    """The partition with kernels and entries, by what the installation wrote down, else the one
    that systemd-boot was started from."""
    written = read_if_there(sysroot.state / BOOT_PARTITION)
    return _loader_device() if written is None else _device_of(written.strip())


def _loader_device() -> Path:
    """The partition that systemd-boot was started from."""
    try:
        # In efivarfs four bytes of attributes, then UTF-16 with a zero at its end.
        name = LOADER_PARTITION.read_bytes()[4:].decode("utf-16-le").rstrip("\0")
    except (OSError, UnicodeDecodeError):
        name = ""
    return _device_of(name.encode())


def _device_of(uuid: bytes) -> Path:
    device = Path("/dev/disk/by-partuuid") / os.fsdecode(uuid).lower()
    if not uuid or not device.exists():
        raise NotFound(
            "the EFI system partition was not found: systemd-boot did not report where it started",
            hint="mount it at /boot, then try again",
        )
    return device
