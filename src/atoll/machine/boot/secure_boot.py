"""Secure Boot as the firmware reports it, and which of the programs that it starts are signed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.host.fs import open_regular
from atoll.machine.boot.loader_files import OWN
from atoll.tree.pe import HEAD, has_signature

if TYPE_CHECKING:
    from collections.abc import Iterable

SHIM, LOADER, KERNEL = "shim", "boot loader", "kernel"
FIRMWARE = Path("/sys/firmware/efi")
_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
_ATTRIBUTES = 4
"""Bytes before the value of a variable in efivarfs."""


class SecureBoot(StrEnum):
    ON = "on"
    OFF = "off"
    SETUP = "setup mode"
    """Off, and the firmware accepts any keys: it has none of its owner's."""
    UNKNOWN = "unknown"
    """The firmware does not say."""
    NONE = "no UEFI"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signatures:
    """Names of programs that the firmware or the loader starts, with a signature and without."""

    signed: tuple[str, ...] = ()
    unsigned: tuple[str, ...] = ()

    @property
    def are_enough(self) -> bool:
        """Whether firmware with Microsoft's key, which most computers have, starts all of them."""
        return not self.unsigned and SHIM in self.signed


def read_secure_boot(firmware: Path = FIRMWARE) -> SecureBoot:
    """Everyone may read these variables."""
    if not firmware.is_dir():
        return SecureBoot.NONE
    enabled, setup = (_flag(firmware, name) for name in ("SecureBoot", "SetupMode"))
    if enabled:
        return SecureBoot.ON
    if setup:
        return SecureBoot.SETUP
    return SecureBoot.UNKNOWN if enabled is None else SecureBoot.OFF


def _flag(firmware: Path, name: str) -> bool | None:
    try:
        data = (firmware / "efivars" / f"{name}-{_GLOBAL}").read_bytes()
    except OSError:
        return None
    return any(data[_ATTRIBUTES:])


def read_signatures(esp: Path, kernel: Path) -> Signatures:
    """Of shim and the boot loader on ``esp``, and of ``kernel``; what is absent or cannot be read
    is in neither list."""
    shims, loaders = (sorted(esp.glob(f"{OWN}/{name}*.efi")) for name in ("shim", "systemd-boot"))
    found = {
        SHIM: _are_signed(shims),
        LOADER: _are_signed(loaders),
        KERNEL: _are_signed([kernel]),
    }
    return Signatures(
        signed=tuple(name for name, signed in found.items() if signed),
        unsigned=tuple(name for name, signed in found.items() if signed is False),
    )


def _are_signed(programs: Iterable[Path]) -> bool | None:
    """Whether all are; None when there is none, or one cannot be read."""
    found = []
    for program in programs:
        try:
            with open_regular(program) as file:
                found.append(has_signature(file.read(HEAD)))
        except OSError:
            found.append(None)
    if not found or None in found:
        return None
    return all(found)
