"""A disk that fails while it is written or read: the error names it and says what to do.

Programs and system calls only say "Input/output error". The kernel's log says which disk had one.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, ProgramFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

KERNEL_LOG = Path("/dev/kmsg")
_RECORD = 8192
"""Bytes of one record at most."""
_FAILED = (
    re.compile(r"error(?:, dev| on dev| on device) ([\w-]+),"),
    re.compile(r"\(device ([\w-]+)\).* (?:error|failure)", re.IGNORECASE),
)
"""``I/O error, dev sda, sector 5 op 0x1:(WRITE)``, ``critical medium error, dev …``, ``Buffer I/O
error on dev sda1, logical block 5``, ``EXT4-fs warning (device sda2): ext4_end_bio:343: I/O error
10 writing to …``. The kernel leaves out some of many, so each form counts."""
_ERRNOS = (errno.EIO, errno.EROFS, errno.ENXIO, errno.ENODEV, errno.EUCLEAN, errno.EREMOTEIO)
"""What system calls say of a failing disk; a file system with errors is read-only from then on."""


@dataclass(frozen=True, slots=True)
class KernelLog:
    """What the kernel has logged since this was opened; nothing where it may not be read."""

    handle: int | None

    def find_failed(self) -> tuple[str, ...]:
        """The names of the block devices with errors, such as ``sda`` and ``sda1``."""
        names: dict[str, None] = {}
        for record in self._records():
            for form in _FAILED:
                names.update(dict.fromkeys(form.findall(record)))
        return tuple(names)

    def _records(self) -> Iterator[str]:
        while self.handle is not None:
            try:
                record = os.read(self.handle, _RECORD)
            except BrokenPipeError:
                continue  # older records were overwritten: the next ones follow
            except OSError:
                return
            if not record:
                return
            yield record.decode(errors="replace")


@contextmanager
def opened_kernel_log(path: Path = KERNEL_LOG) -> Iterator[KernelLog]:
    handle = None
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(handle, 0, os.SEEK_END)
    try:
        yield KernelLog(handle)
    finally:
        if handle is not None:
            os.close(handle)


@contextmanager
def naming_failed_disk(disk: Path, log_path: Path = KERNEL_LOG) -> Iterator[None]:
    """Turn what a failing disk causes into an error that names it: ``disk``, which is written to,
    or another one that the kernel had errors of meanwhile. All other errors stay as they are."""
    with opened_kernel_log(log_path) as log:
        try:
            yield
        except (AtollError, OSError) as error:
            failed = log.find_failed()
            is_target = any(belongs_to(name, disk) for name in failed)
            if not is_target and not _is_of_a_disk(error):
                raise
            others = [Path("/dev") / name for name in failed if not name.startswith("dm-")]
            named = disk if is_target or not others else others[0]
            raise AtollError(
                f"{named} is failing: {_reason(error)}",
                hint=f"use another disk; about this one: journalctl -k, smartctl --all {named}",
            ) from error


def belongs_to(name: str, disk: Path) -> bool:
    """Whether a block device is the disk or a partition of it."""
    return re.fullmatch(rf"{re.escape(disk.name)}(?:p?\d+)?", name) is not None


def _is_of_a_disk(error: AtollError | OSError) -> bool:
    if isinstance(error, OSError):
        return error.errno in _ERRNOS
    if isinstance(error.__cause__, OSError):
        return error.__cause__.errno in _ERRNOS
    said = error.stderr_tail if isinstance(error, ProgramFailed) else ""
    return any(os.strerror(number) in said for number in _ERRNOS)


def _reason(error: AtollError | OSError) -> str:
    """One line."""
    if isinstance(error, ProgramFailed):
        last = error.stderr_tail.strip().splitlines()[-1:] or [f"status {error.status}"]
        program = Path(error.argv[0]).name
        return last[0].strip() if program in last[0] else f"{program}: {last[0].strip()}"
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, OSError):
        return cause.strerror or str(cause)
    return str(error).splitlines()[0]
