"""What protects what on the running machine: encryption, checked contents, Secure Boot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.machine.boot.luks import find_luks
from atoll.machine.boot.secure_boot import SecureBoot, Signatures, read_secure_boot

if TYPE_CHECKING:
    from atoll.machine.deployments.sysroot import Sysroot

MOUNTS = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """``encrypted``: the state partition is in a LUKS2 volume, which ``key_slots`` open (empty when
    they are not known). ``verified``: the kernel checks each file of the system when it is read."""

    encrypted: bool
    key_slots: tuple[str, ...]
    verified: bool
    secure_boot: SecureBoot
    signatures: Signatures


def read_protection(
    sysroot: Sysroot, key_slots: tuple[str, ...], signatures: Signatures
) -> Protection:
    """``key_slots`` and ``signatures`` are those of the public status: only root can read them, and
    not at once. The rest is read now."""
    return Protection(
        encrypted=find_luks(sysroot.root) is not None,
        key_slots=key_slots,
        verified=requires_verity(_read_mounts()),
        secure_boot=read_secure_boot(),
        signatures=signatures,
    )


def _read_mounts() -> str:
    try:
        return MOUNTS.read_text(errors="replace")
    except OSError:
        return ""


def requires_verity(mounts: str) -> bool:
    """Whether the root of the lines of proc(5) is an overlay that requires fs-verity."""
    root = False
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        if before.split(" ")[4:5] == ["/"]:
            root = "verity=require" in after.rpartition(" ")[2].split(",")
    return root
