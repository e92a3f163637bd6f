"""Whether a file on the ESP may be unlinked: checked before Atoll removes anything there.

A power cut, also during the loader's rename of a counted entry, can leave two names on the same
clusters, or a name on freed ones. Unlinking such a name frees clusters that another file uses, or
makes Linux detect the damage and remount the ESP read-only. Such files stay until the ESP is
repaired.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, MissingPrivilege, NotFound, Refused
from atoll.host.fs import fsync_directory
from atoll.host.syscalls import syncfs
from atoll.machine.boot.mounts import find_device, find_mount
from atoll.tree.fat import parse_volume

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from atoll.tree.fat import Volume

FINDINGS_SHOWN = 20
"""How many findings are shown; a destroyed volume has thousands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EspCheck:
    """What may be unlinked, why the rest may not, and the damage of the ESP, as lines.

    ``device`` is None for a directory that is not on a FAT volume: all is safe there.
    """

    device: Path | None
    safe: frozenset[Path]
    unsafe: Mapping[Path, str]
    findings: tuple[str, ...]

    def require_safe(self, path: Path) -> None:
        """Raises Refused for a path that may not be unlinked, or that was not asked about."""
        if path not in self.safe:
            why = self.unsafe.get(path, "it was not checked")
            raise Refused(f"{path} is not removed: {why}", hint=self.repair)

    @property
    def repair(self) -> str | None:
        """The command that repairs the findings."""
        return None if self.device is None else f"repair it unmounted: {_repair(self.device)}"


def remove_checked(esp: Path, path: Path) -> None:
    """Remove a file or an empty directory of the ESP durably. Raises Refused when its clusters are
    not its own; and what ``check_esp`` does."""
    check_esp(esp, (path,)).require_safe(path)
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink()
    fsync_directory(path.parent)


def check_esp(esp: Path, paths: Iterable[Path]) -> EspCheck:
    """Which of ``paths``, files and directories below ``esp``, may be unlinked.

    What was written before is flushed first, so that the device has it. Raises Damaged when the
    volume cannot be understood, MissingPrivilege when its device may not be read, NotFound.
    """
    asked = tuple(paths)
    mount = find_mount(esp)
    if mount is None:
        return EspCheck(device=None, safe=frozenset(asked), unsafe={}, findings=())
    _flush(esp)
    above = PurePosixPath(*mount.root.parts[1:])
    inside = above / PurePosixPath(esp.resolve()).relative_to(mount.point)
    names = {path: str(inside / _below(esp, path)) for path in asked}
    return _checked(find_device(mount), names)


def check_volume(source: Path, names: Iterable[str]) -> EspCheck:
    """The same for a block device or an image of one; ``names`` are from the volume's root."""
    return _checked(source, {Path(name): name for name in names})


def _below(esp: Path, path: Path) -> Path:
    if ".." in path.parts or not path.is_relative_to(esp):
        raise NotFound(f"{path} is not below {esp}")
    return path.relative_to(esp)


def _checked(source: Path, names: Mapping[Path, str]) -> EspCheck:
    volume = read_volume(source)
    reasons = {path: _reason(volume, name) for path, name in names.items()}
    shown = [volume.describe(finding) for finding in volume.findings[:FINDINGS_SHOWN]]
    if len(volume.findings) > FINDINGS_SHOWN:
        shown.append(f"and {len(volume.findings) - FINDINGS_SHOWN} more")
    return EspCheck(
        device=source,
        safe=frozenset(path for path, reason in reasons.items() if reason is None),
        unsafe={path: reason for path, reason in reasons.items() if reason is not None},
        findings=tuple(shown),
    )


def _reason(volume: Volume, name: str) -> str | None:
    found = volume.find(name)
    if not found:
        return "the FAT volume has no such name"
    for number in found:
        for finding in volume.obstacles(number):
            return volume.describe(finding)
    return None


def read_volume(source: Path) -> Volume:
    """Read a FAT volume from a device or an image. Raises Damaged, NotFound, MissingPrivilege."""
    try:
        handle = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFound(f"there is no {source}") from error
    except PermissionError as error:
        raise MissingPrivilege(f"{source} may not be read", hint="try again with sudo") from error
    try:
        return parse_volume(lambda offset, size: os.pread(handle, size, offset))
    except Damaged as error:
        raise Damaged(f"{source}: {error.message}", hint=f"see: fsck.fat -n {source}") from error
    except OSError as error:
        raise Damaged(
            f"{source} cannot be read: {error.strerror}",
            hint="the disk may be failing; see: journalctl -k",
        ) from error
    finally:
        os.close(handle)


def _repair(device: Path) -> str:
    return f"fsck.fat -a {device}"


def _flush(esp: Path) -> None:
    handle = os.open(esp, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syncfs(handle)
    finally:
        os.close(handle)
