"""Disks of files for tests of the installer: loop devices with partitions that the kernel knows.

The kernel of a test machine may not read GPT, and udev may not be there, so partx tells it.
"""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SFDISK = "/usr/sbin/sfdisk"
FORGET_SECONDS = 20
ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"


def make_file(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def write_table(disk: Path, *lines: str) -> None:
    """A GPT by sfdisk, on a file or a device; a line for each partition."""
    script = "\n".join(("label: gpt", *lines, ""))
    words: list[str | Path] = [SFDISK, "--quiet", "--no-reread", "--no-tell-kernel", disk]
    subprocess.run(words, input=script, text=True, check=True, capture_output=True)


@contextmanager
def attached(file: Path, *, sector: int = 512) -> Iterator[Path]:
    """The loop device of ``file``; it has no partitions until ``know`` is called."""
    words: list[str | Path] = ["losetup", "--find", "--show", "--sector-size", str(sector), file]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    device = Path(done.stdout.strip())
    try:
        yield device
    finally:
        forget(device)
        subprocess.run(["losetup", "--detach", device], check=True)


def know(device: Path) -> None:
    """Let the kernel know the partitions of a device, which may have those of an earlier test."""
    forget(device)
    subprocess.run(["partx", "--add", device], check=True, capture_output=True)


def forget(device: Path) -> None:
    """Let the kernel forget the partitions of a device. The mounts of a process that has ended are
    gone a little later, and until then its partitions are busy."""
    place = Path("/sys/class/block") / device.name
    deadline = time.monotonic() + FORGET_SECONDS
    while True:
        done = subprocess.run(["partx", "--delete", device], check=False, capture_output=True)
        if not any(place.glob(f"{device.name}p*")):
            return
        assert time.monotonic() < deadline, f"{device} stays in use: {done.stderr.decode()}"
        time.sleep(0.1)
