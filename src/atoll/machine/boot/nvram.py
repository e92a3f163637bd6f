"""EFI variables that override the order of the boot entries (``bootctl set-default``).

systemd-boot's variables, in efivarfs: four bytes of attributes, then UTF-16 with a zero at its end.
``LoaderEntryDefault`` holds for every boot and is cleared, because the order of the entries alone
decides what boots; ``LoaderEntryOneShot`` holds for the next boot only, on request, and stays.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from atoll.host.syscalls import make_mutable

VARIABLES = Path("/sys/firmware/efi/efivars")
LOADER = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
DEFAULT, ONE_SHOT = "LoaderEntryDefault", "LoaderEntryOneShot"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootOverride:
    """``variable`` makes ``entry`` boot, whatever the order of the entries is."""

    variable: str
    entry: str
    path: Path


def read_overrides(variables: Path = VARIABLES) -> tuple[BootOverride, ...]:
    found = []
    for name in (DEFAULT, ONE_SHOT):
        path = variables / f"{name}-{LOADER}"
        try:
            data = path.read_bytes()
        except OSError:
            continue
        entry = data[4:].decode("utf-16-le", errors="replace").rstrip("\0")
        if entry:
            found.append(BootOverride(variable=name, entry=entry, path=path))
    return tuple(found)


def clear_override(override: BootOverride) -> bool:
    """Whether it was cleared: only ``LoaderEntryDefault`` is, and only by root."""
    if override.variable != DEFAULT or os.geteuid() != 0:
        return False
    try:
        make_mutable(override.path)
        override.path.unlink()
    except OSError:
        return False
    return True
