"""The write log that QEMU itself keeps."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from vmtest.blocklog import flush_points, read_log, replay

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(shutil.which("qemu-io") is None, reason="qemu-io is not here (qemu-utils)")
def test_a_write_log_of_qemu_replays_to_the_same_disk(tmp_path: Path) -> None:
    image, log, before = tmp_path / "image", tmp_path / "log", tmp_path / "before"
    image.write_bytes(os.urandom(1 << 20))
    log.touch()
    shutil.copyfile(image, before)
    options = (
        f"driver=blklogwrites,file.driver=file,file.filename={image},log.driver=file,"
        f"log.filename={log},log-sector-size=512,log-super-update-interval=1"
    )
    steps = ("write -P 1 4k 8k", "flush", "write -z 64k 16k", "write -f -P 2 512 512", "flush")
    words = [word for step in steps for word in ("-c", step)]
    subprocess.run(["qemu-io", "--image-opts", options, *words], check=True, capture_output=True)
    entries = read_log(log)
    assert [entry.offset for entry in entries if entry.size][:3] == [4096, 65536, 512]
    assert len(flush_points(entries)) >= 2
    replay(entries, before)
    assert before.read_bytes() == image.read_bytes()
