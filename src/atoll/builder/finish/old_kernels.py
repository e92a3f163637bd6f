"""Remove what is left of a kernel that a derived recipe replaced.

dpkg removes the files of the old kernel's packages, also diverted ones. It does not remove the
initrd, the files that depmod wrote, or the diversions.
"""

from __future__ import annotations

import os
from pathlib import Path

from atoll.debian.dpkg_database import parse_diversions, read_owners
from atoll.host.in_root import glob_in_root, in_root, read_text
from atoll.host.sandbox import Sandbox


def drop_old_kernels(root: Path, version: str) -> None:
    """Remove the remains of all kernels but ``version`` from a root in Debian's layout."""
    modules = glob_in_root(root, "usr/lib/modules", "*")
    old = [path for path in modules if path.name != version and not path.is_symlink()]
    if not old:
        return
    owners = read_owners(in_root(root, "var/lib/dpkg"))
    for path in old:
        _drop_unowned(root, path, owners)
    _drop_diversions(root, version)


def _drop_unowned(root: Path, directory: Path, owners: dict[str, str]) -> None:
    for folder, _, files in os.walk(directory, topdown=False):
        here = Path(folder)
        for name in files:
            if f"/{(here / name).relative_to(root)}" not in owners:
                (here / name).unlink()
        if not any(here.iterdir()):
            here.rmdir()


def _drop_diversions(root: Path, version: str) -> None:
    text = read_text(root, "var/lib/dpkg/diversions")
    for original, (target, _) in parse_diversions(text):
        if target.startswith("/usr/lib/modules/") and not original.endswith(f"-{version}"):
            Sandbox(root=root).run(["dpkg-divert", "--quiet", "--no-rename", "--remove", original])
