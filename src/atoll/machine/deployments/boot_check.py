"""Whether a deployment can boot: why not, as a text, or empty.

``quick_check`` looks at names and sizes. Here what boots is read: the tree's image with the names
of its objects, and kernel and initrd from the disk. Contents of objects are not read: the kernel
verifies each (fs-verity) when it is used.
"""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, Damaged
from atoll.host.fs import open_regular
from atoll.machine.boot.machine_initrd import SUFFIX, initrd_place
from atoll.machine.deployments.quick_check import PAIR, check_entry, check_state
from atoll.store.layout import open_store
from atoll.store.objects import find_missing, read_chunks
from atoll.store.tree_images import read_image_bytes
from atoll.tree.erofs_objects import find_objects

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.machine.boot.boot_entries import MenuEntry
    from atoll.machine.deployment import Deployment
    from atoll.machine.deployments.state import DeploymentState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.deployments.way_back import Verify


def verifier(sysroot: Sysroot) -> Verify:
    """A function that checks whether an entry can boot, and reads each kernel and tree only
    once."""
    known: dict[tuple[int, str], str] = {}

    def verify(each: DeploymentState, menu_entry: MenuEntry) -> str:
        key = each.number, menu_entry.file
        if key not in known:
            known[key] = find_flaw(sysroot, each.deployment, menu_entry)
        return known[key]

    return verify


def find_flaw(sysroot: Sysroot, deployment: Deployment, menu_entry: MenuEntry) -> str:
    """Why ``menu_entry`` could not boot its deployment."""
    return find_tree_flaw(sysroot, deployment) or find_entry_flaw(sysroot, deployment, menu_entry)


def find_tree_flaw(sysroot: Sysroot, deployment: Deployment) -> str:
    """Why a deployment cannot boot, as far as the state partition is concerned; empty if it can."""
    flaw = check_state(sysroot, deployment)
    if flaw:
        return flaw
    try:
        store = open_store(sysroot.atoll)
        names = find_objects(read_image_bytes(store, deployment.tree))
        missing = find_missing(store, names)
    except (AtollError, OSError) as error:
        return str(error)
    if missing:
        return f"{len(missing)} objects of its tree are missing, such as {names[missing[0]]}"
    return ""


def find_entry_flaw(sysroot: Sysroot, deployment: Deployment, menu_entry: MenuEntry) -> str:
    """Why an entry cannot boot; its kernel and initrd are read from the disk. Empty if it can."""
    flaw = check_entry(sysroot, deployment, menu_entry)
    if flaw:
        return flaw
    folder = sysroot.esp / "atoll" / str(menu_entry.pair)
    try:
        parts = [_digest_on_disk(folder / name) for name in PAIR]
    except (Damaged, OSError) as error:
        return f"its kernel cannot be read: {error}"
    if sha256(b"".join(parts)).hexdigest() != menu_entry.pair:
        return f"its kernel or initrd in {folder} is damaged"
    return _find_initrd_flaw(sysroot, menu_entry.machine_initrd)


def _find_initrd_flaw(sysroot: Sysroot, name: str | None) -> str:
    """What is wrong with the machine's own initrd, if the entry names one."""
    if name is None:
        return ""
    place = initrd_place(sysroot.esp, name)
    try:
        damaged = _digest_on_disk(place).hex() + SUFFIX != name
    except (Damaged, OSError) as error:
        return f"the keyboard's layout for its passphrase cannot be read: {error}"
    return f"the keyboard's layout for its passphrase is damaged: {place}" if damaged else ""


def _digest_on_disk(path: Path) -> bytes:
    """The SHA-256 of a file, read past the page cache, which may have data that the disk has
    lost."""
    hasher = sha256()
    with open_regular(path) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        for chunk in read_chunks(file.fileno()):
            hasher.update(chunk)
    return hasher.digest()
