"""FAT volumes as mkfs.vfat and mtools make them. Those in tests/golden/fat came from here, too."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

from atoll.host.run import require_program, run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONTENT: Mapping[str, int] = {
    "EFI/BOOT/BOOTX64.EFI": 1500,
    "atoll/0123456789abcdef/initrd": 9000,
    "atoll/0123456789abcdef/linux": 5000,
    "loader/entries/atoll-1.conf": 600,
    "loader/entries/atoll-2+1-2.conf": 700,
    "loader/empty": 0,
    "loader/loader.conf": 40,
}
"""Files and their sizes."""

KIB = 1024
SHAPES: Mapping[int, int] = {12: 512 * KIB, 16: 4096 * KIB, 32: 34 * 1024 * KIB}
"""Bits of the FAT, and a size of the volume that suits them with clusters of 512 bytes."""

PROGRAMS = ("mkfs.vfat", "mcopy", "fsck.fat")


def make_volume(out: Path, *, bits: int, size: int, per_cluster: int = 1) -> None:
    """A volume in the new file ``out`` that has CONTENT."""
    folder = out.parent / f"{out.name}.content"
    for name, length in CONTENT.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode()[:1] * length)
        os.utime(path, (1_700_000_000, 1_700_000_000))
    with out.open("wb") as file:
        file.truncate(size)
    run(
        [
            require_program("mkfs.vfat", package="dosfstools"),
            "--invariant",
            "-F",
            str(bits),
            "-s",
            str(per_cluster),
            "-n",
            "ESP",
            out,
        ]
    )
    run(
        [
            require_program("mcopy", package="mtools"),
            "-s",
            "-m",
            "-i",
            out,
            *sorted(folder.iterdir()),
            "::",
        ]
    )


def record(golden: Path, work: Path) -> None:
    for bits, size in SHAPES.items():
        volume = work / f"fat{bits}"
        make_volume(volume, bits=bits, size=size)
        (golden / f"fat{bits}.gz").write_bytes(gzip.compress(volume.read_bytes(), mtime=0))
