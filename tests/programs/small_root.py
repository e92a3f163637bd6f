"""A small real Debian with systemd, made once and kept; tests work in overlays over it."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from atoll.host.mount import Overlay, overlay_mounted
from tests.cache import CACHE, alone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGES = (
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "locales",
    "tzdata",
    "console-setup",
    "adduser",
    "libcap2-bin",
    "acl",
    "cron",
    "polkitd",
    "avahi-daemon",
)
KERNEL = "6.12-fake"


def ensure_small_root() -> Path:
    """The root directory, in the cache of tests."""
    root = CACHE / "small-root-1"
    with alone("small-root"):
        if not root.exists():
            _make(root)
    return root


def _make(root: Path) -> None:
    made = root.with_name(".new-small-root")
    shutil.rmtree(made, ignore_errors=True)
    words = ["mmdebstrap", "--mode=root", "--variant=apt", f"--include={','.join(PACKAGES)}"]
    subprocess.run([*words, "trixie", str(made)], check=True, capture_output=True)
    modules = made / "usr/lib/modules" / KERNEL
    (modules / "kernel").mkdir(parents=True)
    (modules / "vmlinuz").write_text("a kernel\n")
    (modules / "kernel/fake-driver.ko.xz").write_text("a module\n")
    (modules / "modules.builtin").write_text("kernel/fs/built_in_fs.ko\n")
    made.rename(root)


@contextmanager
def laid_over(lower: Path, place: Path) -> Iterator[Path]:
    """A root that is ``lower`` until it is changed; what changes is in ``place/upper``."""
    for name in ("upper", "work", "root"):
        (place / name).mkdir(parents=True)
    (place / "upper").chmod(0o755)
    (place / "lower").symlink_to(lower)
    overlay = Overlay(base=place, lowers=("lower",), upper="upper", work="work")
    with overlay_mounted(overlay, place / "root") as root:
        yield root
