"""Mounts in a private mount namespace, which disappear when the process ends.

A long operation calls ``enter_private_mounts`` once. Later mounts are visible to it and its
children only, and the kernel removes them when the last of these ends, even if it is killed.
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
    """The directories of an overlay mount, relative to ``base``; no name has a comma or colon.

    ``lowers`` are ordered from the top layer down. Changes go to ``upper``. ``work`` is for the
    kernel and must be on the same file system as ``upper``.
    """

    base: Path
    lowers: tuple[str, ...]
    upper: str
    work: str

    def options(self, *, namespace: str = "trusted") -> str:
        """The mount options. ``namespace`` is that of the extended attributes that mark opaque
        directories: ``trusted``, or ``user`` inside a user namespace, where trusted attributes
        cannot be set."""
        return (
            f"lowerdir={':'.join(self.lowers)},upperdir={self.upper},workdir={self.work}"
            ",redirect_dir=nofollow,metacopy=off,index=off"
            + (",userxattr" if namespace == "user" else "")
        )


def enter_private_mounts() -> None:
    """Move this process into a new mount namespace, for good. Raises MissingProgram."""
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
    """Mount the overlay at ``target`` inside the block.

    Without ``follow_links`` it is mounted ``nosymfollow``: the kernel refuses to follow links.
    """
    options = overlay.options(namespace="trusted" if is_initial_namespace() else "user")
    if not follow_links:
        options = f"nosymfollow,{options}"
    # fsconfig(2) limits an option to 255 bytes, too few for many lower directories; mount(2) takes
    # a page.
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
