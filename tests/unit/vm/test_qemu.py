"""Detection of KVM: it counts only if a machine's firmware runs under it. Kernel arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atoll.vm import qemu
from atoll.vm.qemu import KVM, argument_options, runs_firmware

if TYPE_CHECKING:
    from pathlib import Path

FIND = 'variables=$(printf "%s\\n" "$@" | sed -n "s/.*unit=1,file=//p")'


@pytest.mark.parametrize(
    ("script", "works"),
    [
        ('echo boot >>"$variables"; exec sleep 600', True),
        ("exit 0", False),
        ("echo 'failed to set MSR' >&2; kill -ABRT $$", False),
        ("echo 'KVM internal error. Suberror: 1' >&2; exec sleep 600", False),
    ],
)
def test_kvm_is_believed_when_firmware_runs_under_it(
    script: str, works: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(qemu, "FIRMWARE", (tmp_path,))
    for name in ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"):
        (tmp_path / name).write_bytes(b"as shipped")
    program = tmp_path / "qemu"
    program.write_text(f"#!/bin/sh\n{FIND}\n{script}\n")
    program.chmod(0o755)
    assert runs_firmware(str(program), KVM) is works
    assert (tmp_path / "OVMF_VARS_4M.fd").read_bytes() == b"as shipped"
    assert list(tmp_path.glob("atoll-kvm-*")) == []


def test_only_emulated_machines_lose_address_space_randomization() -> None:
    key = "type=11,value=io.systemd.boot.kernel-cmdline-extra="
    assert argument_options(("console=ttyS0",), kvm=True) == ("-smbios", f"{key}console=ttyS0")
    assert argument_options((), kvm=True) == ()
    assert argument_options(("console=ttyS0",), kvm=False) == (
        "-smbios",
        f"{key}console=ttyS0 norandmaps",
    )
