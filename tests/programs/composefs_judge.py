"""The foreign judge of images: Debian sid's composefs programs, fetched once into a cache.

Its files are unpacked by mmdebstrap into the cache of tests and run by their own dynamic loader:
there is no chroot to enter and nothing to mount.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.cache import CACHE, alone

if TYPE_CHECKING:
    from pathlib import Path

SUITE = "sid"
ARGUMENTS = {None: [], 0: ["--min-version=0", "--max-version=0"], 1: ["--min-version=1"]}
"""What asks mkcomposefs for a format; None lets it choose."""


class NoJudge(Exception):
    """Why the composefs programs cannot be had here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    root: Path

    def command(self, program: str) -> list[str]:
        """The words that start one of the root's programs on this machine."""
        loader = min(self.root.glob("usr/lib*/ld-linux*.so.*"))
        libraries = ":".join(map(str, self.root.glob("usr/lib/*-linux-gnu*")))
        return [str(loader), "--library-path", libraries, str(self.root / "usr/bin" / program)]

    def make_image(self, dump: bytes, *, version: int | None) -> bytes:
        """What mkcomposefs makes of a dump; raises CalledProcessError when it takes it not."""
        command = [*self.command("mkcomposefs"), "--from-file", *ARGUMENTS[version], "-", "-"]
        return subprocess.run(command, input=dump, capture_output=True, check=True).stdout

    def dump(self, image: Path) -> bytes:
        command = [*self.command("composefs-info"), "dump", os.fspath(image)]
        return subprocess.run(command, capture_output=True, check=True).stdout


def find_judge() -> Judge:
    """The judge from the cache, made now if need be. Raises NoJudge."""
    root = CACHE / f"composefs-{SUITE}"
    if not root.is_dir():
        if os.geteuid() != 0:
            raise NoJudge("not root, and the composefs programs are not in the cache yet")
        if shutil.which("mmdebstrap") is None:
            raise NoJudge("mmdebstrap is not here")
        with alone(f"composefs-{SUITE}"):
            if not root.is_dir():
                _make(root)
    return Judge(root=root)


def _make(root: Path) -> None:
    made = root.with_name(f"{root.name}.new")
    shutil.rmtree(made, ignore_errors=True)
    command = [
        "mmdebstrap",
        "--quiet",
        "--variant=extract",
        "--include=composefs",
        '--aptopt=Acquire::Check-Valid-Until "false"',
        SUITE,
        os.fspath(made),
    ]
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    except subprocess.CalledProcessError as error:
        shutil.rmtree(made, ignore_errors=True)
        last = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise NoJudge(f"mmdebstrap cannot make it: {last}") from error
    made.rename(root)
