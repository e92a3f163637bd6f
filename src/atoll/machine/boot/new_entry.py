"""The boot entry of a new deployment: which kernel it starts, and with which command line."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.host.run import run
from atoll.host.syscalls import file_system_uuid
from atoll.machine.boot.boot_entry import BootEntry, EntryName, entry_title
from atoll.machine.boot.machine_initrd import FOLDER, initrd_name

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.image.bootable import BootableImage
    from atoll.machine.deployment import Deployment

PANIC_SECONDS = 10
"""How long a kernel that panicked waits before it restarts the machine for the next attempt."""
LUKS_NAME = "rd.luks.name"
NO_UUID = "00000000-0000-0000-0000-000000000000"
"""Stands for the UUID of a file system without one: early boot cannot find it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveState:
    """Where a live system keeps changes: in the file system ``persistence``, a UUID, else in
    memory."""

    persistence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatePartition:
    """The file system on which early boot finds the deployments of a machine.

    ``luks`` is the UUID of the LUKS2 volume that it is in, None where it is not encrypted.
    ``initrd`` is what early boot needs of this machine besides (``machine_initrd``), or empty.
    """

    uuid: str
    verity: bool
    live: LiveState | None = None
    """Set for a live system, whose state partition is only read."""
    luks: str | None = None
    initrd: bytes = b""


def boot_options(
    deployment: Deployment, state: StatePartition, arguments: tuple[str, ...]
) -> tuple[str, ...]:
    """The kernel command line: first what early boot reads, then the recipe's ``arguments``."""
    verity = ("atoll.verity=require",) if state.verity else ()
    return (
        f"composefs={deployment.tree}",
        f"atoll.state=UUID={state.uuid}",
        f"atoll.deployment={deployment.number}",
        *verity,
        *luks_options(state.luks),
        *(live_options(state.live) if state.live else (f"panic={PANIC_SECONDS}",)),
        *arguments,
    )


def live_options(live: LiveState) -> tuple[str, ...]:
    """Without ``panic=``: a live system has no other deployment, so its last words stay on the
    screen."""
    where = (f"atoll.persistence=UUID={live.persistence}",) if live.persistence else ()
    return ("atoll.live=1", *where)


def luks_options(uuid: str | None) -> tuple[str, ...]:
    """What systemd-cryptsetup-generator reads: the volume is opened as /dev/mapper/atoll, and a
    wrong passphrase is asked for again, however often.

    A TPM, which is for later, is one word more: ``tpm2-device=auto`` among the options.
    """
    if uuid is None:
        return ()
    return (f"{LUKS_NAME}={uuid}=atoll", f"rd.luks.options={uuid}=tries=0")


def make_entry(
    image: BootableImage, deployment: Deployment, state: StatePartition, name: EntryName
) -> BootEntry:
    return BootEntry(
        name=name,
        title=entry_title(
            image.title or image.name, image.version, "live" if state.live else deployment.number
        ),
        linux=f"/atoll/{deployment.pair}/linux",
        initrd=f"/atoll/{deployment.pair}/initrd",
        options=boot_options(deployment, state, image.arguments),
        machine_initrd=f"/{FOLDER}/{initrd_name(state.initrd)}" if state.initrd else "",
    )


def find_uuid(path: Path) -> str:
    """The UUID of the file system that ``path`` is on; ``NO_UUID`` when it has none."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        uuid = file_system_uuid(handle)
    finally:
        os.close(handle)
    if uuid is not None:
        return uuid
    # Kernels before 6.9 have no ioctl for it.
    found = run(["findmnt", "--noheadings", "--output", "UUID", "--target", path]).decode().strip()
    return found or NO_UUID
