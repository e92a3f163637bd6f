"""What a machine is made of, as values: disks, firmware, display, network."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Writes(StrEnum):
    """Where a guest's writes to a disk go."""

    OVERLAY = "overlay"
    """Into a file of this machine; the image stays as it is."""
    DIRECT = "direct"
    """Into the image itself."""


class Display(StrEnum):
    """The graphics card; the names are those of QEMU's ``-vga``."""

    NONE = "none"
    STD = "std"
    VIRTIO = "virtio"


class Interface(StrEnum):
    """How a disk is connected."""

    VIRTIO = "virtio"
    USB = "usb"
    """A removable stick."""
    NVME = "nvme"
    SATA = "sata"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """One disk.

    With ``cache="writeback"`` the guest's flushes reach the host's file system, and a power cut may
    lose what QEMU still holds of writes that were never flushed. ``cache="unsafe"`` ignores
    flushes: faster, for machines whose power is never cut.
    """

    image: Path
    format: str = "raw"
    writes: Writes = Writes.OVERLAY
    cache: str = "writeback"
    serial: str | None = None
    """Shows as ``/dev/disk/by-id/virtio-SERIAL`` in the machine."""
    interface: Interface = Interface.VIRTIO
    sector: int = 512
    """Bytes of a logical block: 512 or 4096. QEMU's SATA disks have 512 only."""
    bytes_per_second: int | None = None
    """How much is read and how much is written at most: a slow disk."""
    write_log: Path | None = None
    """Every write and flush is recorded here, for ``vmtest.blocklog``; DIRECT raw disks only."""
    bad: tuple[int, ...] = ()
    """512-byte sectors that can be neither read nor written: I/O errors; DIRECT raw disks only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uefi:
    """Boots through UEFI firmware from the first disk."""

    code: Path | None = None
    """The firmware; None looks where Debian's ovmf has it."""
    variables: Path | None = None
    """What the machine's own variables start as; None takes the empty ones beside the firmware."""
    secure_boot: bool = False
    """Takes the firmware that enforces signatures (the keys are in ``variables``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectKernel:
    """Boots a kernel without firmware."""

    kernel: Path
    initrd: Path | None = None
    arguments: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserNetwork:
    """A network card behind QEMU's own address translation."""

    ssh_port: int | None = None
    """A port on the host's loopback address that leads to the machine's port 22."""
    restricted: bool = False
    """The machine reaches nothing outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSpec:
    """A machine before it runs."""

    boot: Uefi | DirectKernel = field(default_factory=Uefi)
    disks: tuple[Disk, ...] = ()
    memory: int = 1024
    """In MiB."""
    cpus: int = 1
    """Without KVM more than one only takes turns, and costs time."""
    display: Display = Display.NONE
    network: UserNetwork | None = None
    credentials: tuple[tuple[str, bytes], ...] = ()
    """More system credentials for the machine's systemd: name and value."""
    extra: tuple[str, ...] = ()
    """More words for QEMU's command line."""
