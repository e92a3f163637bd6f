"""The generator of early boot: what waits for which device, and for how long."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.programs.early_boot import SHELLS
from tests.programs.shell_functions import both_shells

PARTS = Path(__file__).parents[2] / "system/usr/lib/dracut/modules.d/90atoll"
OWN = f"composefs={'ab' * 32} atoll.state=UUID=1234-abcd atoll.deployment=1"
LUKS = "66666666-7777-8888-9999-aaaaaaaaaaaa"
DEVICE = r"dev-disk-by\x2duuid-1234\x2dabcd.device"
SERVICE = "atoll-early-boot.service.d"

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-escape") is None, reason="needs systemd-escape"
)


def generate(shell: str, folder: Path, command_line: str) -> dict[str, str]:
    """The files that it writes."""
    (folder / "cmdline").write_text(command_line + "\n")
    words = (PARTS / "early-boot.d/command-line.sh").read_text()
    (folder / "words.sh").write_text(words.replace("/proc/cmdline", str(folder / "cmdline")))
    text = (PARTS / "early-boot-generator.sh").read_text()
    script = folder / "generator"
    script.write_text(
        text.replace("/usr/lib/atoll/early-boot.d/command-line.sh", str(folder / "words.sh"))
    )
    out = folder / "late"
    out.mkdir()
    subprocess.run([*SHELLS[shell], script, out, out, out], check=True)
    return {
        str(path.relative_to(out)): path.read_text() for path in out.rglob("*") if path.is_file()
    }


@both_shells
def test_a_plain_partition_has_the_time_limit_of_any_device(shell: str, tmp_path: Path) -> None:
    found = generate(shell, tmp_path, OWN)
    assert set(found) == {f"{SERVICE}/state.conf"}
    assert f"BindsTo={DEVICE}" in found[f"{SERVICE}/state.conf"]


@both_shells
def test_the_time_limit_of_an_encrypted_one_begins_when_it_is_open(
    shell: str, tmp_path: Path
) -> None:
    line = f"{OWN} rd.luks.name={LUKS}=atoll rd.luks.options={LUKS}=tries=0 quiet"
    found = generate(shell, tmp_path, line)
    opened = "systemd-cryptsetup@atoll.service"
    assert found[f"{DEVICE}.d/encrypted.conf"] == f"[Unit]\nAfter={opened}\n"
    assert found[f"{SERVICE}/encrypted.conf"] == f"[Unit]\nRequires={opened}\nAfter={opened}\n"
    assert f"{SERVICE}/state.conf" in found


@both_shells
def test_without_a_partition_there_is_nothing_to_wait_for(shell: str, tmp_path: Path) -> None:
    assert generate(shell, tmp_path, f"quiet rd.luks.name={LUKS}=atoll") == {}
