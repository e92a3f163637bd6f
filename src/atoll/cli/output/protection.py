"""What protects what, in three lines for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.machine.boot.secure_boot import LOADER, SecureBoot

if TYPE_CHECKING:
    from atoll.machine.protection import Protection


def format_protection(protection: Protection) -> str:
    """Each line is at most 80 columns wide."""
    return "\n".join(
        (
            f"disk         {_disk(protection)}",
            f"files        {_files(protection)}",
            f"Secure Boot  {_secure_boot(protection)}",
        )
    )


def _disk(protection: Protection) -> str:
    if not protection.encrypted:
        return "not encrypted: whoever has the disk reads it"
    if not protection.key_slots:
        return "encrypted (LUKS2)"
    return f"encrypted (LUKS2), opened by {_and(tuple(dict.fromkeys(protection.key_slots)))}"


def _files(protection: Protection) -> str:
    if protection.verified:
        return "of the system are checked whenever they are read (fs-verity)"
    return "of the system are not checked: their file system has no fs-verity"


def _secure_boot(protection: Protection) -> str:
    state, signatures = protection.secure_boot, protection.signatures
    if state is SecureBoot.NONE:
        return "impossible: the machine was not started by UEFI firmware"
    if state is SecureBoot.UNKNOWN:
        return "not offered by this firmware"
    if state is SecureBoot.ON:
        return "on: checks boot loader and kernel, not initrd and boot entry"
    off = "off (setup mode)" if state is SecureBoot.SETUP else str(state)
    if signatures.unsigned:
        return f"{off}, must stay off: unsigned {_and(signatures.unsigned)}"
    if signatures.are_enough:
        return f"{off}, can be on: {_and(signatures.signed)} are signed"
    if LOADER in signatures.signed:
        return f"{off}; without shim it can be on only with keys of your own"
    return f"{off}: whoever can write to the ESP decides what boots"


def _and(names: tuple[str, ...]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def protection_as_json(protection: Protection) -> dict[str, object]:
    return {
        "encrypted": protection.encrypted,
        "key_slots": list(protection.key_slots),
        "verified": protection.verified,
        "secure_boot": str(protection.secure_boot),
        "signed": list(protection.signatures.signed),
        "unsigned": list(protection.signatures.unsigned),
    }
