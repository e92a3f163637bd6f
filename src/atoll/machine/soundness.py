"""Can a deployment boot? What speaks against it on both partitions, as a text; empty for nothing.

``find_flaws`` looks at names and sizes only: quick, and what this person may not look at speaks
against nothing. ``find_flaw`` reads what boots: the tree's image with the names of its objects,
kernel and initrd as the disk has them. The contents of objects are left to the kernel, which
verifies each when it is read.
"""

from __future__ import annotations

import os
import stat
from hashlib import sha256
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError
from atoll.host.files import is_absent
from atoll.store.images import read_image_bytes
from atoll.store.layout import open_store
from atoll.store.objects import find_missing, read_chunks
from atoll.tree.erofs_objects import find_objects

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from atoll.machine.deployment import Deployment
    from atoll.machine.menu import Menu, Placed
    from atoll.machine.state import Sysroot

PAIR = ("linux", "initrd")


def find_flaws(sysroot: Sysroot, deployments: Iterable[Deployment], menu: Menu) -> dict[int, str]:
    """Why deployments, by their numbers, cannot boot; those without a flaw are left out."""
    found = {}
    for each in deployments:
        entries = [placed for placed in menu.of(each.number) if placed.entry is not None]
        flaws = [_glance_at_entry(sysroot, each, placed) for placed in entries]
        flaw = _glance_at_state(sysroot, each) or (flaws[0] if flaws and all(flaws) else "")
        if flaw:
            found[each.number] = flaw
    return found


def find_flaw(sysroot: Sysroot, deployment: Deployment, placed: Placed) -> str:
    """Why ``placed`` could not boot its deployment."""
    return find_tree_flaw(sysroot, deployment) or find_entry_flaw(sysroot, deployment, placed)


def find_tree_flaw(sysroot: Sysroot, deployment: Deployment) -> str:
    """What is wrong with it on the state partition."""
    flaw = _glance_at_state(sysroot, deployment)
    if flaw:
        return flaw
    try:
        store = open_store(sysroot.atoll)
        names = find_objects(read_image_bytes(store, deployment.tree))
        missing = find_missing(store, names)
    except (AtollError, OSError) as error:
        return str(error)
    if missing:
        return f"{len(missing)} objects of its tree are missing: {names[missing[0]]} for one"
    return ""


def find_entry_flaw(sysroot: Sysroot, deployment: Deployment, placed: Placed) -> str:
    """What is wrong with an entry, or with its kernel and initrd, which are read from the disk."""
    flaw = _glance_at_entry(sysroot, deployment, placed)
    if flaw:
        return flaw
    folder = sysroot.esp / "atoll" / str(placed.pair)
    try:
        parts = [_digest_on_disk(folder / name) for name in PAIR]
    except OSError as error:
        return f"its kernel cannot be read: {error}"
    if sha256(b"".join(parts)).hexdigest() != placed.pair:
        return f"its kernel or initrd in {folder} is damaged"
    return ""


def _glance_at_state(sysroot: Sysroot, deployment: Deployment) -> str:
    upper = sysroot.deployments / str(deployment.number) / "etc/upper"
    image = sysroot.atoll / "images" / deployment.tree
    for path, what in ((image, "its tree"), (upper, "its /etc")):
        flaw = _glance(path, what)
        if flaw:
            return flaw
    return ""


def _glance_at_entry(sysroot: Sysroot, deployment: Deployment, placed: Placed) -> str:
    entry = placed.entry
    if entry is None:
        return "its boot entry cannot be read"
    # The loader goes by the entry, whatever the deployment's description says of the pair.
    wanted = [f"/atoll/{placed.pair}/{name}" for name in PAIR]
    if entry.option("composefs") != deployment.tree or [entry.linux, entry.initrd] != wanted:
        return f"its boot entry {placed.file} boots something else"
    flaws = (_glance(sysroot.esp / path.lstrip("/"), "its kernel") for path in wanted)
    return next((flaw for flaw in flaws if flaw), "")


def _glance(path: Path, what: str) -> str:
    try:
        found = path.stat()
    except OSError as error:
        if is_absent(error):
            return f"{what} is gone: there is no {path}"
        if isinstance(error, PermissionError) and os.geteuid() != 0:
            return ""
        return f"{what} cannot be read: {path}: {error.strerror}"
    return f"{what} is empty: {path}" if found.st_size == 0 and not _is_directory(found) else ""


def _is_directory(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode)


def _digest_on_disk(path: Path) -> bytes:
    """Past the page cache: what was flipped on the disk is not yet flipped there."""
    hasher = sha256()
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        for chunk in read_chunks(handle):
            hasher.update(chunk)
    finally:
        os.close(handle)
    return hasher.digest()
