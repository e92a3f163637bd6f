"""The operation that installs the boot loader on the ESP of a new machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.host.fs import open_regular
from atoll.machine.boot.esp import write_checked
from atoll.machine.boot.loader_files import fallback_files, may_take_fallback, own_files

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.image.bootable import BootLoader

LOADER_SETTINGS = "loader/loader.conf"
MENU_PATTERN = b"\ndefault atoll-*\n"
"""What a boot menu of Atoll has in its settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallLoader:
    """``loader.conf`` is written once, and the loader of another system that firmware starts from
    the removable-media path stays: the ESP may be shared."""

    esp: Path
    loader: BootLoader
    timeout: int = 3

    def describe(self) -> str:
        return f"install systemd-boot on {self.esp}"

    def execute(self) -> None:
        files = own_files(self.loader)
        if may_take_fallback(self.esp, self.loader):
            files += fallback_files(self.loader)
        for file in files:
            write_checked(self.esp / file.path, file.content)
        configuration = self.esp / LOADER_SETTINGS
        text = f"timeout {self.timeout}".encode() + MENU_PATTERN + b"editor no\n"
        there = _read_start(configuration, len(text))
        if there != text and text.startswith(there.rstrip(b"\0")):
            write_checked(configuration, text)


def _read_start(path: Path, size: int) -> bytes:
    """Up to ``size`` bytes of a file and one more; empty when it is absent."""
    try:
        with open_regular(path) as file:
            return file.read(size + 1)
    except FileNotFoundError:
        return b""
