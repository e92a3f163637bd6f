"""Computers of other Debians to try things on: roots that are made once, and entered so that they
look like a whole computer (``ischroot`` says no).

Each computer is an overlay over the kept root, so what a test does to it is gone with the test.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.cache import CACHE, alone

if TYPE_CHECKING:
    from pathlib import Path

SUITES = ("bookworm", "trixie")
PACKAGES = (
    "python3",
    "python3-httpx",
    "python3-prompt-toolkit",
    "python3-tomlkit",
    "python3-zstandard",
    "mount",
    "mmdebstrap",
    "initramfs-tools",
    "linux-image-cloud-amd64",
    "zstd",
    "systemd-sysv",
    "udev",
)
_ENTER = """
root=$1; upper=$2; work=$3; merged=$4; store=$5; shift 5
mount -t overlay -o "lowerdir=$root,upperdir=$upper,workdir=$work" overlay "$merged"
cd "$merged"
mkdir -p store
mount --bind "$store" store
mount --rbind /dev dev
mount -t proc proc proc
mount --rbind /sys sys
mount -t tmpfs tmpfs run
rm -f etc/resolv.conf
cp /etc/resolv.conf etc/resolv.conf
mkdir -p .old
pivot_root . .old
exec /bin/sh -c 'umount -l /.old; rmdir /.old; exec env -i HOME=/root \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"' in "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    root: Path
    place: Path

    @property
    def files(self) -> Path:
        """Where a test may put files, before the first program runs."""
        return self.place / "upper"

    @property
    def store(self) -> Path:
        """``/store`` there: no overlay, so that overlays can be laid over what is in it."""
        return self.place / "store"

    def attempt(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program as root on that computer, whose process 1 it is."""
        names = ("upper", "work", "merged", "store")
        for name in names:
            (self.place / name).mkdir(exist_ok=True)
        argv = [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--propagation",
            "private",
            "sh",
            "-euc",
            _ENTER,
            "enter",
            self.root,
            *(self.place / name for name in names),
            *words,
        ]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    def run(self, *words: str | Path) -> str:
        done = self.attempt(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def shell(self, text: str) -> str:
        return self.run("sh", "-euc", text)


def host_of(suite: str, place: Path) -> Host:
    """A computer of that Debian, with a kernel and an initrd; skips where none can be made."""
    place.mkdir(exist_ok=True)
    for name in ("upper", "store"):
        (place / name).mkdir(exist_ok=True)
    return Host(root=_ensure_root(suite), place=place)


def _ensure_root(suite: str) -> Path:
    if shutil.which("mmdebstrap") is None:
        pytest.skip("needs mmdebstrap, to make the other computer")
    digest = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:12]
    root = CACHE / "hosts" / f"{suite}-{digest}"
    with alone(f"host-{suite}"):
        if root.exists():
            return root
        new = root.with_name(f".new-{suite}")
        shutil.rmtree(new, ignore_errors=True)
        new.parent.mkdir(parents=True, exist_ok=True)
        words = [
            "mmdebstrap",
            "--mode=root",
            "--variant=apt",
            f"--include={','.join(PACKAGES)}",
            suite,
            str(new),
        ]
        made = subprocess.run(words, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            pytest.skip(f"{suite} cannot be had here: {made.stderr.splitlines()[-1]}")
        new.rename(root)
    return root
