"""A failing disk is named, and only then; test_failing_disk.py has real I/O errors."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from atoll.base.errors import AtollError, NoSpace, ProgramFailed, Refused
from atoll.installer.devices.disk_failures import naming_failed_disk

SDA = Path("/dev/sda")
LINES = {
    "sda": "3,1,2,-;I/O error, dev sda, sector 2048 op 0x1:(WRITE) flags 0x800 phys_seg 1\n",
    "sda1": "3,1,2,-;Buffer I/O error on dev sda1, logical block 256, lost async page write\n",
    "sda2": "4,1,2,-;EXT4-fs warning (device sda2): ext4_end_bio:368: I/O error 10 writing to\n",
    "sdb": "2,1,2,-;critical medium error, dev sdb, sector 99 op 0x0:(READ) flags 0x0\n",
    "dm-0": "3,1,2,-;Buffer I/O error on dev dm-0, logical block 1, lost async page write\n",
    "": "6,1,2,-;EXT4-fs (sda2): mounted filesystem\n",
}
IO_ERROR = OSError(errno.EIO, os.strerror(errno.EIO))


def failed(tmp_path: Path, error: Exception, *names: str) -> AtollError:
    """What becomes of ``error`` when the kernel logs errors of these devices before it."""
    log = tmp_path / "log"
    log.write_text(LINES["sda"])  # of an earlier time
    with pytest.raises(AtollError) as caught, naming_failed_disk(SDA, log):
        with log.open("a") as file:
            file.writelines(LINES[name] for name in names)
        raise error
    return caught.value


@pytest.mark.parametrize(
    "names", [("sda",), ("sda1",), ("sda2",), ("dm-0",), ("",), ("sdb", "sda")]
)
def test_the_disk_that_is_written_to(tmp_path: Path, names: tuple[str, ...]) -> None:
    found = failed(tmp_path, IO_ERROR, *names)
    assert found.message == "/dev/sda is failing: Input/output error"
    assert found.hint is not None and "use another disk" in found.hint


def test_the_disk_that_is_read_from(tmp_path: Path) -> None:
    assert failed(tmp_path, IO_ERROR, "sdb").message.startswith("/dev/sdb is failing: ")


def test_what_a_program_said_of_it_is_shown(tmp_path: Path) -> None:
    error = ProgramFailed(
        ["/usr/sbin/mke2fs", "-q"], 1, "first\nmke2fs: Input/output error while\n"
    )
    for names in ((), ("sda1",)):
        shown = failed(tmp_path, error, *names).message
        assert shown == "/dev/sda is failing: mke2fs: Input/output error while"
    silent = ProgramFailed(["/usr/bin/mount", "x"], 32, "")
    assert failed(tmp_path, silent, "sda").message.endswith("failing: mount: status 32")


def test_a_file_system_that_was_made_read_only(tmp_path: Path) -> None:
    error = OSError(errno.EROFS, os.strerror(errno.EROFS))
    assert "Read-only file system" in failed(tmp_path, error, "sda2").message


def test_a_thin_disk_that_is_full_below(tmp_path: Path) -> None:
    error = NoSpace("no space left on /x", hint="see: df -h /x")
    error.__cause__ = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert failed(tmp_path, error, "sda").message.endswith("No space left on device")


@pytest.mark.parametrize(
    "error",
    [
        Refused("it has changed", hint="start again"),
        NoSpace("no space left on /x", hint="see: df -h /x"),
        ProgramFailed(["mkfs.vfat"], 1, "mkfs.vfat: unknown option\n"),
    ],
)
def test_other_errors_stay_as_they_are(tmp_path: Path, error: AtollError) -> None:
    assert failed(tmp_path, error) is error
    assert failed(tmp_path, error, "sdb", "dm-0") is error


def test_a_kernel_log_that_may_not_be_read_is_done_without(tmp_path: Path) -> None:
    with (
        pytest.raises(AtollError, match="/dev/sda is failing"),
        naming_failed_disk(SDA, tmp_path / "x"),
    ):
        raise IO_ERROR
