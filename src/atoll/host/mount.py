"""Mounts that end with the process: made in a mount namespace of its own.

A long work calls ``enter_private_mounts`` once; whatever it mounts from then on is seen by it and
its children only, and the kernel takes it away when the last of them ends, however that happens.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import MissingProgram
from atoll.host.run import run
from atoll.host.signals import signals_deferred
from atoll.host.syscalls import unshare_mounts
from atoll.host.userns import is_initial_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """Directories below ``base``, by names that are safe in mount options (no comma, no colon).

    ``lowers`` are given from the top down; what changes lands in ``upper``. ``work`` is the
    kernel's own and lies on the same file system as ``upper``.
    """

    base: Path
    lowers: tuple[str, ...]
    upper: str
    work: str

    def options(self, *, marks: str = "trusted") -> str:
        """``marks`` is the kind of attribute that opaque directories are marked with: ``trusted``,
        or ``user`` where trusted ones cannot be set, in a user namespace."""
        return (
            f"lowerdir={':'.join(self.lowers)},upperdir={self.upper},workdir={self.work}"
            ",redirect_dir=nofollow,metacopy=off,index=off"
            + (",userxattr" if marks == "user" else "")
        )


def enter_private_mounts() -> None:
    """From here on, mounts of this process are its own. There is no way back."""
    try:
        unshare_mounts()
    except OSError as error:
        hint = "in a container, start it with the capability to mount (CAP_SYS_ADMIN)"
        if error.errno == errno.EINVAL:
            hint = "a chroot has to be a mount point: mount --bind DIR DIR, then enter it"
        raise MissingProgram(
            f"this system does not allow mount namespaces: {error.strerror}", hint=hint
        ) from error


@contextmanager
def overlay_mounted(overlay: Overlay, target: Path, *, follow_links: bool = True) -> Iterator[Path]:
    """The merged view at ``target`` while the context lasts.

    Without ``follow_links`` the kernel follows no symbolic link in it, wherever that leads.
    """
    options = overlay.options(marks="trusted" if is_initial_namespace() else "user")
    if not follow_links:
        options = f"nosymfollow,{options}"
    # By the newer system call the kernel takes no option of more than 255 bytes.
    environment = os.environ | {"LIBMOUNT_FORCE_MOUNT2": "always"}
    mounted = False
    try:
        with signals_deferred():
            run(
                ["mount", "-t", "overlay", "-o", options, "atoll-step", target],
                cwd=overlay.base,
                env=environment,
            )
            mounted = True
        yield target
    finally:
        with signals_deferred():
            if mounted:
                run(["umount", "--lazy", target])
