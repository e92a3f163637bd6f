"""Machines of the fake QEMU."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vmtest import DirectKernel, Disk, Machine, MachineSpec
from vmtest.guest import SERVE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent


@pytest.fixture
def put_program(tmp_path: Path) -> Callable[[str, str], Path]:
    """Makes a program of a script."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def put(name: str, script: str) -> Path:
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
        return folder / name

    return put


@pytest.fixture
def programs(
    put_program: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder that is first on PATH and holds the fake QEMU."""
    folder = tmp_path / "bin"
    put_program(
        "qemu-system-x86_64",
        f'#!/bin/sh\nexec {sys.executable} -I {HERE}/fake_qemu.py "$@"\n',
    )
    monkeypatch.setenv("FAKE_SERVE", SERVE)
    put_program("zstd", "#!/bin/sh\nexec cat\n")
    put_program("qemu-img", '#!/bin/sh\nfor last; do :; done\necho "$@" >"$last"\n')
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.fixture
def fake_spec(tmp_path: Path) -> MachineSpec:
    (tmp_path / "root.img").write_bytes(b"")
    return MachineSpec(
        boot=DirectKernel(kernel=tmp_path / "vmlinuz", arguments="quiet"),
        disks=(Disk(image=tmp_path / "root.img"),),
    )


@pytest.fixture
def story() -> list[str]:
    """What the machine told."""
    return []


@pytest.fixture
def fake(
    programs: Path, fake_spec: MachineSpec, tmp_path: Path, story: list[str]
) -> Iterator[Machine]:
    assert programs.is_dir()
    with Machine(fake_spec, tmp_path / "machine", tell=story.append) as machine:
        yield machine
