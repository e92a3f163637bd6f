"""Firmware in the real emulator: what proves that KVM works proves it for emulation as well."""

from __future__ import annotations

import shutil

import pytest

from atoll.vm.qemu import EMULATED, FIRMWARE, PROGRAM, runs_firmware


@pytest.mark.skipif(
    not (
        shutil.which(PROGRAM) and any((folder / "OVMF_VARS_4M.fd").exists() for folder in FIRMWARE)
    ),
    reason=f"needs {PROGRAM} and ovmf",
)
def test_firmware_runs_in_a_real_emulator() -> None:
    assert runs_firmware(PROGRAM, EMULATED)
