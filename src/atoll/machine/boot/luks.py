"""The encrypted volume that a directory is in, which everyone may know, and what opens it."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from atoll.base.errors import AtollError

SYSFS = Path("/sys/dev/block")
_LUKS = re.compile(r"CRYPT-LUKS2-([0-9a-f]{32})-.+")
"""The kernel's name for an open volume, with its UUID without dashes."""
_SLOT = re.compile(r"\s*[0-9]+\s+([a-z0-9]+)\s*")
_COLOR = re.compile(r"\x1b\[[0-9;:]*m")
SLOT_NAMES = {"password": "passphrase", "recovery": "recovery key", "tpm2": "TPM"}
"""Atoll's words for what systemd-cryptenroll calls the kinds of slots; others keep theirs."""


def find_luks(directory: Path, sysfs: Path = SYSFS) -> str | None:
    """The UUID of the LUKS2 volume that ``directory`` is in; None where it is in none."""
    try:
        found = _LUKS.fullmatch((_block_device(directory, sysfs) / "dm/uuid").read_text().strip())
    except OSError:
        return None
    return str(UUID(found.group(1))) if found else None


def read_key_slots(directory: Path, sysfs: Path = SYSFS) -> tuple[str, ...]:
    """What opens the volume that ``directory`` is in, in the order of its slots; empty when that
    cannot be read, which only root can."""
    from atoll.host.run import run

    try:
        devices = [path.name for path in (_block_device(directory, sysfs) / "slaves").iterdir()]
    except OSError:
        return ()
    if len(devices) != 1:
        return ()
    with suppress(AtollError, OSError):
        device = Path("/dev") / devices[0].replace("!", "/")
        return parse_key_slots(run(["systemd-cryptenroll", device]).decode(errors="replace"))
    return ()


def parse_key_slots(text: str) -> tuple[str, ...]:
    """From the table of systemd-cryptenroll: ``SLOT TYPE``, then a line for each."""
    found = (_SLOT.fullmatch(line) for line in _COLOR.sub("", text).splitlines())
    return tuple(SLOT_NAMES.get(each.group(1), each.group(1)) for each in found if each)


def _block_device(directory: Path, sysfs: Path) -> Path:
    device = directory.stat().st_dev
    return sysfs / f"{os.major(device)}:{os.minor(device)}"
