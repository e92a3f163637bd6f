"""Writing a disk image to a USB stick and reading it back. Nothing on it boots before the end.

The first mebibyte, which has the partition table, is zeros while the rest is written, and is
written last. The last mebibyte of the stick becomes zeros: tables and signatures of what was there
before may be at its end.
"""

from __future__ import annotations

import mmap
import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, NotFound, ProgramFailed, Refused, UsageError
from atoll.host.run import require_program, run
from atoll.installer.devices.describe_devices import describe_disk, describe_erased_disk
from atoll.installer.devices.disk_failures import naming_failed_disk
from atoll.installer.devices.disk_lock import locked_disk
from atoll.installer.plan.obstacles import refuse, too_small, whole_disk_obstacles
from atoll.machine.disk import make_persistence

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atoll.base.report import Reporter
    from atoll.installer.devices.block_devices import BlockDevices, Disk
    from atoll.machine.disk_layout import DiskIdentity, DiskLayout

MIB = 1 << 20
CHUNK = 4 * MIB
SYNCED = 32 * MIB
"""So often what was written is made durable: else the progress would be that of the page cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stick:
    """A disk that may be written to; ``erased`` says what is lost, a line each."""

    disk: Disk
    erased: tuple[str, ...]


def find_stick(device: Path, devices: BlockDevices) -> Stick:
    """Pure. Raises NotFound, UsageError for a partition, or Refused with every obstacle."""
    disk = devices.find_disk(device)
    if disk is None:
        found = devices.find_partition(device)
        if found is not None:
            raise UsageError(
                f"{device} is a partition", hint=f"name the whole disk: --usb {found[0].path}"
            )
        raise NotFound(f"there is no disk {device}", hint="lsblk lists disks")
    refuse(whole_disk_obstacles(disk, devices))
    return Stick(disk=disk, erased=describe_erased_disk(disk))


def format_stick(stick: Stick) -> str:
    """What a person is told before the name is asked for."""
    disk = stick.disk
    lines = [f"{describe_disk(disk)} will be erased:"]
    lines += [f"  {each}" for each in stick.erased] or ["  nothing that is known is on it"]
    if not (disk.removable or disk.transport == "usb"):
        lines.append(f"ATTENTION: {disk.name} is not a USB stick, but a disk of this computer.")
    return "\n".join(lines)


def check_fits(stick: Stick, size: int) -> None:
    """Raises Refused when an image of ``size`` bytes is larger than the stick."""
    if size > stick.disk.identity.size:
        refuse([too_small(stick.disk.path, stick.disk.identity.size, size)])


def write_stick(
    stick: Stick,
    image: Path,
    layout: DiskLayout,
    identity: DiskIdentity,
    reporter: Reporter,
) -> None:
    """Write the disk image ``image``, which has ``layout``, and compare what the stick then holds.
    Its partition table must be for the stick's sectors.

    Raises Busy, NotFound, Refused or Damaged, and an error that names the stick when it fails. The
    persistence partition is made on the stick itself: in the image it is mostly zeros.
    """
    path = stick.disk.path
    content = range(MIB, layout.persistence_start)
    table, second = range(MIB), range(layout.size - MIB, layout.size)
    with ExitStack() as stack:
        stack.enter_context(naming_failed_disk(path))
        stack.enter_context(locked_disk(path, stick.disk.identity.number))
        source = stack.enter_context(image.open("rb"))
        with reporter.step(f"Writing to {path}"), _opened_alone(path) as target:
            for start in (0, stick.disk.identity.size - MIB):
                _write_all(target, bytes(MIB), start)
            os.fsync(target)
            _copy(target, source.fileno(), content, reporter)
        if layout.persistence:
            with reporter.step("Making the persistence partition"):
                make_persistence(path, layout, identity)
        with _opened_alone(path) as target:
            _copy(target, source.fileno(), second, reporter)
        with reporter.step(f"Reading {path} back"):
            for part in (content, second):
                _compare(path, source.fileno(), part, reporter)
        with _opened_alone(path) as target:
            _copy(target, source.fileno(), table, reporter)
        _compare(path, source.fileno(), table, reporter)
    reread_partitions(path, reporter)


def _copy(target: int, source: int, part: range, reporter: Reporter) -> None:
    """The bytes of ``part``, durably."""
    for offset in range(part.start, part.stop, CHUNK):
        _write_all(target, os.pread(source, min(CHUNK, part.stop - offset), offset), offset)
        if offset % SYNCED < CHUNK:
            os.fsync(target)
        reporter.progress(offset - part.start, len(part), unit="B")
    os.fsync(target)


@contextmanager
def _opened_alone(path: Path) -> Iterator[int]:
    """With O_EXCL the kernel refuses a disk that is mounted or otherwise in use."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_EXCL | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(
            f"{path} cannot be written to: {error.strerror}", hint=f"see who uses it: lsof {path}"
        ) from error
    try:
        yield handle
    finally:
        os.close(handle)


def _write_all(target: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(target, view, offset)
        view, offset = view[done:], offset + done


def _compare(path: Path, source: int, part: range, reporter: Reporter) -> None:
    """Past the page cache, which has what was meant to be written."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    try:
        with mmap.mmap(-1, CHUNK) as buffer:
            for offset in range(part.start, part.stop, CHUNK):
                wanted = os.pread(source, min(CHUNK, part.stop - offset), offset)
                found = os.preadv(handle, [buffer], offset)
                if found < len(wanted) or buffer[: len(wanted)] != wanted:
                    raise Damaged(
                        f"{path} does not read back as it was written, at byte {offset} or behind",
                        hint="the stick is worn out, or smaller than it says: use another one",
                    )
                reporter.progress(offset - part.start, len(part), unit="B")
    finally:
        os.close(handle)


def reread_partitions(path: Path, reporter: Reporter) -> None:
    """Let the kernel know the new partitions; whoever plugs the stick in again needs no help."""
    try:
        run([require_program("blockdev", package="util-linux"), "--rereadpt", path])
    except ProgramFailed:
        reporter.notice(f"to see the new partitions of {path}, unplug it and plug it in again")
