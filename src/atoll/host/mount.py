"""Mounts that end with the process: made in a mount namespace of its own.

A long work calls ``enter_private_mounts`` once; whatever it mounts from then on is seen by it and
its children only, and the kernel takes it away when the last of them ends, however that happens.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import MissingProgram
from atoll.host.kernel import unshare_mounts
from atoll.host.run import run

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

    def options(self) -> str:
        return (
            f"lowerdir={':'.join(self.lowers)},upperdir={self.upper},workdir={self.work}"
            ",redirect_dir=off,metacopy=off,index=off"
        )


def enter_private_mounts() -> None:
    """From here on, mounts of this process are its own. There is no way back."""
    try:
        unshare_mounts()
    except OSError as error:
        raise MissingProgram(
            f"this system allows no mount namespace: {error.strerror}",
            hint="inside a container, start it with the right to mount (CAP_SYS_ADMIN)",
        ) from error


@contextmanager
def overlay_mounted(overlay: Overlay, target: Path) -> Iterator[Path]:
    """The merged view at ``target`` while the context lasts."""
    words: list[str | Path] = [
        "mount",
        "-t",
        "overlay",
        "-o",
        overlay.options(),
        "atoll-step",
        target,
    ]
    run(words, cwd=overlay.base)
    try:
        yield target
    finally:
        run(["umount", "--lazy", target])
