"""Quick checks whether a deployment can boot: names and sizes of files on both partitions.

They cost little, so ``status`` makes them each time. Files that this user may not read count as
intact. ``boot_check`` reads what boots.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from atoll.host.fs import is_absent

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from atoll.machine.boot.boot_entries import BootMenu, MenuEntry
    from atoll.machine.deployment import Deployment
    from atoll.machine.deployments.sysroot import Sysroot

PAIR = ("linux", "initrd")
FILE_LIMIT = 1 << 30
"""The most bytes of a kernel, an initrd or a tree's image. Atoll writes no larger ones, and reading
one could take very long."""


def find_flaws(
    sysroot: Sysroot, deployments: Iterable[Deployment], menu: BootMenu
) -> dict[int, str]:
    """Why deployments, by their numbers, cannot boot; those without a flaw are left out."""
    found = {}
    for each in deployments:
        entries = [
            menu_entry
            for menu_entry in menu.entries_of(each.number)
            if menu_entry.entry is not None
        ]
        flaws = [check_entry(sysroot, each, menu_entry) for menu_entry in entries]
        flaw = check_state(sysroot, each) or (flaws[0] if flaws and all(flaws) else "")
        if flaw:
            found[each.number] = flaw
    return found


def check_state(sysroot: Sysroot, deployment: Deployment) -> str:
    upper = sysroot.deployments / str(deployment.number) / "etc/upper"
    image = sysroot.atoll / "images" / deployment.tree
    return _check_path(image, "its tree") or _check_path(upper, "its /etc", directory=True)


def check_entry(sysroot: Sysroot, deployment: Deployment, menu_entry: MenuEntry) -> str:
    entry = menu_entry.entry
    if entry is None:
        return "its boot entry cannot be read"
    # The loader follows the entry, not the pair in the deployment's description.
    wanted = [f"/atoll/{menu_entry.pair}/{name}" for name in PAIR]
    if entry.option("composefs") != deployment.tree or [entry.linux, entry.initrd] != wanted:
        return f"its boot entry {menu_entry.file} boots another tree or kernel"
    if entry.machine_initrd:
        if menu_entry.machine_initrd is None:
            return f"its boot entry {menu_entry.file} names an unknown initrd"
        wanted.append(entry.machine_initrd)
    flaws = (_check_path(sysroot.esp / path.lstrip("/"), "its kernel") for path in wanted)
    return next((flaw for flaw in flaws if flaw), "")


def _check_path(path: Path, what: str, *, directory: bool = False) -> str:
    try:
        found = path.stat()
    except OSError as error:
        if is_absent(error):
            return f"{what} is missing: there is no {path}"
        if isinstance(error, PermissionError) and os.geteuid() != 0:
            return ""
        return f"{what} cannot be read: {path}: {error.strerror}"
    if directory:
        return "" if stat.S_ISDIR(found.st_mode) else f"{what} is not a directory: {path}"
    if not stat.S_ISREG(found.st_mode):
        return f"{what} is not a regular file: {path}"
    if found.st_size > FILE_LIMIT:
        return f"{what} is too large for such a file: {path}"
    return "" if found.st_size else f"{what} is empty: {path}"
