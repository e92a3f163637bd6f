"""The boot loader's files on the ESP: systemd-boot, behind Debian's shim where the image has it.

::

    EFI/systemd/systemd-bootx64.efi             systemd-boot
    EFI/systemd/{grubx64,mmx64,shimx64}.efi     only with shim; the firmware's entry names shim
    EFI/BOOT/BOOTX64.EFI                        the removable-media path: shim, else systemd-boot
    EFI/BOOT/{grubx64,mmx64}.efi                only with shim

shim starts ``grubx64.efi`` of its own directory, whatever that is: here systemd-boot. ``mmx64.efi``
is MokManager, which enrols keys of a machine's owner. A file comes after those that it starts, so
that a power cut leaves none that starts nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.host.fs import open_regular

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.image.bootable import BootLoader

OWN, FALLBACK = "EFI/systemd", "EFI/BOOT"
LOADER_MARK = b"#### LoaderInfo: systemd-boot "
"""What systemd-boot has in its program, so that others know it."""
_LARGEST = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderFile:
    """``path`` is from the top of the ESP."""

    path: str
    content: bytes


def own_files(loader: BootLoader) -> tuple[LoaderFile, ...]:
    """Those in a directory that no other system uses."""
    return (
        LoaderFile(path=own_program(loader.efi_name), content=loader.program),
        *_behind_shim(loader, OWN, f"shim{loader.efi_name}.efi"),
    )


def fallback_files(loader: BootLoader) -> tuple[LoaderFile, ...]:
    """Those at the removable-media path, which another system may have taken."""
    first = f"BOOT{loader.efi_name.upper()}.EFI"
    if not loader.shim:
        return (LoaderFile(path=f"{FALLBACK}/{first}", content=loader.program),)
    return _behind_shim(loader, FALLBACK, first)


def own_program(efi_name: str) -> str:
    """Where systemd-boot is."""
    return f"{OWN}/systemd-boot{efi_name}.efi"


def firmware_path(loader: BootLoader) -> str:
    """What an entry of the firmware starts, as the firmware writes it."""
    first = f"{OWN}/shim{loader.efi_name}.efi" if loader.shim else own_program(loader.efi_name)
    return "\\" + first.replace("/", "\\")


def _behind_shim(loader: BootLoader, folder: str, first: str) -> tuple[LoaderFile, ...]:
    if not loader.shim:
        return ()
    named = (
        (f"grub{loader.efi_name}.efi", loader.program),
        (f"mm{loader.efi_name}.efi", loader.mok_manager),
        (first, loader.shim),
    )
    return tuple(
        LoaderFile(path=f"{folder}/{name}", content=content) for name, content in named if content
    )


def may_take_fallback(esp: Path, loader: BootLoader) -> bool:
    """Whether the removable-media path has nothing of another system: neither a program that is not
    systemd-boot, nor one that another's shim starts. What a power cut left of a file of this loader
    is the beginning of it, and perhaps zeros."""
    first = _read(esp / FALLBACK / f"BOOT{loader.efi_name.upper()}.EFI")
    second = _read(esp / FALLBACK / f"grub{loader.efi_name}.efi")
    if second and not _is_ours(second, loader):
        return False
    return _is_ours(first, loader) or LOADER_MARK in second


def _is_ours(there: bytes, loader: BootLoader) -> bool:
    if LOADER_MARK in there:
        return True
    rest = there.rstrip(b"\0")
    return loader.program.startswith(rest) or loader.shim.startswith(rest)


def _read(path: Path) -> bytes:
    """Empty when it is absent."""
    try:
        with open_regular(path) as file:
            return file.read(_LARGEST)
    except FileNotFoundError:
        return b""
