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

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.debian.version import compare_versions
from atoll.host.fs import open_regular
from atoll.tree.pe import HEAD, has_signature

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.image.bootable import BootLoader

OWN, FALLBACK = "EFI/systemd", "EFI/BOOT"
LOADER_MARK = b"#### LoaderInfo: systemd-boot "
"""What systemd-boot has in its program, so that others know it."""
_VERSION = re.compile(rb"#### LoaderInfo: systemd-boot (\S+) ####")
_SHIM_VERSION = re.compile(rb"\nshim\.debian,\d+,Debian,shim,([^,\n\0]+),")
"""A line of the section .sbat, by which shim itself tells versions that are revoked."""
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


def fallback_paths(efi_name: str) -> tuple[str, ...]:
    """All that Atoll may write at the removable-media path, the first one that firmware starts
    before those that shim starts."""
    names = (f"BOOT{efi_name.upper()}.EFI", f"grub{efi_name}.efi", f"mm{efi_name}.efi")
    return tuple(f"{FALLBACK}/{name}" for name in names)


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


def find_outdated(esp: Path, loader: BootLoader) -> tuple[LoaderFile, ...]:
    """The files that an update writes, in their order; none where systemd-boot of Atoll is not on
    this partition. Raises OSError.

    Nothing gets older, for firmware and shim refuse versions that were revoked meanwhile; and what
    is signed is not replaced by what is not, for Secure Boot may be on.
    """
    there = _read(esp / own_program(loader.efi_name))
    if not loader.program or not there or not _may_replace(there, loader.program, _VERSION):
        return ()
    shim = _read(esp / OWN / f"shim{loader.efi_name}.efi")
    if shim and not loader.shim:
        return ()
    keeps_shim = bool(shim) and not _may_replace(shim, loader.shim, _SHIM_VERSION)
    wanted = [*own_files(loader)]
    if may_take_fallback(esp, loader):
        wanted += fallback_files(loader)
    kept = (loader.shim, loader.mok_manager) if keeps_shim else ()
    return tuple(
        file
        for file in wanted
        if file.content not in kept and _read(esp / file.path) != file.content
    )


def _may_replace(there: bytes, new: bytes, pattern: re.Pattern[bytes]) -> bool:
    if has_signature(there[:HEAD]) and not has_signature(new[:HEAD]):
        return False
    before, after = (_find_version(pattern, each) for each in (there, new))
    return before is None or after is None or compare_versions(before, after) <= 0


def _find_version(pattern: re.Pattern[bytes], program: bytes) -> str | None:
    found = pattern.search(program)
    return None if found is None else found[1].decode(errors="replace")


def _read(path: Path) -> bytes:
    """Empty when it is absent."""
    try:
        with open_regular(path) as file:
            return file.read(_LARGEST)
    except FileNotFoundError:
        return b""
