"""Installing on a disk that fails: real I/O errors, of a loop device whose file cannot grow.

The error names the disk; other partitions stay as they are, nothing new boots, and on a disk that
works again the same installation succeeds.
"""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.programs.test_install_on_disk import (
    CHILD,
    FOREIGN,
    KINDS,
    boots,
    computer,
    foreign_files,
    missing,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.programs.test_install_on_disk import Computer

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(missing), reason=f"not here: {', '.join(missing)}"),
]
ENOUGH = 1 << 30


@contextmanager
def limited(folder: Path) -> Iterator[Path]:
    """A file system that can be made full: what a disk has there then fails when it is written."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ENOUGH}", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def fail_from(folder: Path) -> str:
    """The installation's script, with a disk that fails from operation ``stop`` on."""
    fail = (
        f"found = os.statvfs('{folder}')\n"
        "            used = (found.f_blocks - found.f_bfree) * found.f_frsize\n"
        f"            os.system(f'mount -o remount,size={{used}} {folder}')"
    )
    assert "os._exit(99)" in CHILD
    return CHILD.replace("os._exit(99)", fail)


def repair(folder: Path, machine: Computer) -> None:
    """The disk works again, and the kernel forgets what it could not write."""
    subprocess.run(["mount", "-o", f"remount,size={ENOUGH}", folder], check=True)
    for device in machine.disk.parent.glob(f"{machine.disk.name}*"):
        subprocess.run(["blockdev", "--flushbufs", device], check=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_failing_disk_is_named_and_harms_nothing_else(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    """From one operation on, until the disk does not fail any more."""
    stops = range(2, 60) if request.config.getoption("--long") else (3, 7, 9)
    failed = 0
    with limited(tmp_path / "disks") as folder:
        for stop in stops:
            place = tmp_path / str(stop)
            place.mkdir()
            with computer(place, disks=folder) as machine:
                target = machine.partition(3) if kind == "partition" else machine.disk
                kept = {"disk": (), "partition": (2,), "free_space": (2, 3)}[kind]
                before = {number: machine.digest(number) for number in kept}
                done = machine.install(
                    kind,
                    target,
                    stop=stop,
                    script=fail_from(folder),
                    repair=lambda: repair(folder, machine),
                )
                if kept:
                    assert foreign_files(machine) == FOREIGN
                assert {number: machine.digest(number) for number in kept} == before
                if done.returncode == 0:
                    break
                failed += 1
                assert f"{machine.disk} is failing: " in done.stderr, done.stderr
                assert "use another disk" in done.stderr
                assert "Traceback" not in done.stderr
                if boots(machine):
                    # The entry was written before the disk failed: the error is of reading back.
                    continue
                again = machine.install(kind, target)
                assert again.returncode == 0, again.stderr
                assert len(boots(machine)) == 1
    assert failed >= 2
