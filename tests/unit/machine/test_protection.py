"""What protects what: from the kernel's and the firmware's own words to three lines."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.cli.output.protection import format_protection, protection_as_json
from atoll.machine.boot.luks import parse_key_slots, read_key_slots
from atoll.machine.boot.secure_boot import (
    SecureBoot,
    Signatures,
    read_secure_boot,
    read_signatures,
)
from atoll.machine.protection import Protection, requires_verity
from atoll.tree.pe import has_signature

GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
SYSTEMD_BOOT = Path("/usr/lib/systemd/boot/efi/systemd-bootx64.efi")
ROOT = "27 1 0:25 / / ro,relatime - overlay overlay ro,lowerdir=/a::/b,metacopy=on,verity=require\n"
PLAIN = Protection(
    encrypted=False,
    key_slots=(),
    verified=True,
    secure_boot=SecureBoot.OFF,
    signatures=Signatures(signed=("kernel",), unsigned=("boot loader",)),
)


def program(certificates: int) -> bytes:
    """The head of a PE32+ program with so many bytes of certificates."""
    directories = b"".join(
        struct.pack("<II", 4096, certificates if number == 4 else 0) for number in range(16)
    )
    optional = struct.pack("<H", 0x20B).ljust(108, b"\0") + struct.pack("<I", 16) + directories
    return b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 64) + b"PE\0\0" + bytes(20) + optional


def test_a_certificate_table_is_a_signature() -> None:
    assert has_signature(program(1400)) is True
    assert has_signature(program(0)) is False
    if SYSTEMD_BOOT.exists():
        assert has_signature(SYSTEMD_BOOT.read_bytes()[:4096]) is False


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_are_a_program_or_none(noise: bytes, at: int) -> None:
    assert has_signature(noise) in (None, True, False)
    cut = (program(5)[:at] + noise)[:at]
    assert has_signature(cut) in (None, True, False)


def test_programs_on_the_esp_are_read(tmp_path: Path) -> None:
    loader = tmp_path / "EFI/systemd/systemd-bootx64.efi"
    kernel = tmp_path / "atoll/abc/linux"
    assert read_signatures(tmp_path, kernel) == Signatures()
    for path, content in ((loader, program(0)), (kernel, program(9))):
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    assert read_signatures(tmp_path, kernel) == Signatures(
        signed=("kernel",), unsigned=("boot loader",)
    )
    kernel.write_bytes(b"no program")
    assert read_signatures(tmp_path, kernel) == Signatures(unsigned=("boot loader",))


@pytest.mark.parametrize(
    ("secure", "setup", "expected"),
    [
        (1, 0, SecureBoot.ON),
        (0, 0, SecureBoot.OFF),
        (0, 1, SecureBoot.SETUP),
        (None, None, SecureBoot.UNKNOWN),
    ],
)
def test_the_firmware_says_whether_secure_boot_is_on(
    tmp_path: Path, secure: int | None, setup: int | None, expected: SecureBoot
) -> None:
    assert read_secure_boot(tmp_path / "efi") is SecureBoot.NONE
    variables = tmp_path / "efi/efivars"
    variables.mkdir(parents=True)
    for name, value in (("SecureBoot", secure), ("SetupMode", setup)):
        if value is not None:
            (variables / f"{name}-{GLOBAL}").write_bytes(b"\6\0\0\0" + bytes([value]))
    assert read_secure_boot(tmp_path / "efi") is expected


def test_the_mounted_root_says_whether_files_are_checked() -> None:
    assert requires_verity(ROOT)
    assert requires_verity("1 0 0:2 / / rw - rootfs none rw\n" + ROOT)
    assert not requires_verity(ROOT.replace(",verity=require", ""))
    assert not requires_verity(ROOT.replace(" / / ", " / /usr "))
    assert not requires_verity("")


def test_slots_are_called_by_what_people_have() -> None:
    table = "\x1b[4mSLOT\x1b[0m \x1b[4mTYPE    \x1b[0m\n   0 password\n   1 recovery\n   7 tpm2\n"
    assert parse_key_slots(table) == ("passphrase", "recovery key", "TPM")
    assert parse_key_slots("No slots found.\n") == ()


def test_a_directory_in_no_volume_has_no_slots(tmp_path: Path) -> None:
    assert read_key_slots(tmp_path, tmp_path) == ()


def test_what_people_read() -> None:
    assert format_protection(PLAIN).splitlines() == [
        "disk         not encrypted: whoever has the disk reads it",
        "files        of the system are checked whenever they are read (fs-verity)",
        "Secure Boot  off, must stay off: unsigned boot loader",
    ]
    sealed = replace(
        PLAIN,
        encrypted=True,
        key_slots=("passphrase", "recovery key", "TPM"),
        secure_boot=SecureBoot.ON,
    )
    text = format_protection(sealed)
    assert "encrypted (LUKS2), opened by passphrase, recovery key and TPM" in text
    assert "on: checks boot loader and kernel, not initrd and boot entry" in text


@pytest.mark.parametrize(
    ("signed", "said"),
    [
        (
            ("shim", "boot loader", "kernel"),
            "off, can be on: shim, boot loader and kernel are signed",
        ),
        (("boot loader", "kernel"), "off; without shim it can be on only with keys of your own"),
        (("kernel",), "off: whoever can write to the ESP decides what boots"),
        ((), "off: whoever can write to the ESP decides what boots"),
    ],
)
def test_whether_secure_boot_can_be_switched_on(signed: tuple[str, ...], said: str) -> None:
    shown = format_protection(replace(PLAIN, signatures=Signatures(signed=signed)))
    assert shown.splitlines()[-1] == f"Secure Boot  {said}"
    assert len(shown.splitlines()[-1]) <= 80


@given(
    st.booleans(),
    st.sampled_from([(), ("passphrase",), ("passphrase", "recovery key", "TPM")]),
    st.booleans(),
    st.sampled_from(SecureBoot),
    st.sampled_from(
        [Signatures(), Signatures(unsigned=("boot loader", "kernel")), PLAIN.signatures]
    ),
)
def test_it_fits_the_terminal_and_json_has_all_of_it(
    encrypted: bool,
    slots: tuple[str, ...],
    verified: bool,
    state: SecureBoot,
    signatures: Signatures,
) -> None:
    protection = Protection(
        encrypted=encrypted,
        key_slots=slots,
        verified=verified,
        secure_boot=state,
        signatures=signatures,
    )
    assert all(len(line) <= 80 for line in format_protection(protection).splitlines())
    assert set(protection_as_json(protection)) == {
        "encrypted",
        "key_slots",
        "verified",
        "secure_boot",
        "signed",
        "unsigned",
    }
