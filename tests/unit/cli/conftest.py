"""What the command line's tests share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from atoll.vm import qemu

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def virtual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has QEMU, which does nothing, and its firmware."""
    program = tmp_path / "bin" / qemu.PROGRAM
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name in ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"):
        (tmp_path / "bin" / name).write_bytes(b"")
    monkeypatch.setattr(qemu, "FIRMWARE", (program.parent,))
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
