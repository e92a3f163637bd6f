"""Encrypted volumes by the real cryptsetup and systemd-cryptenroll, in plain files: nothing is
opened here, for that needs the device mapper (tests/vm/test_encrypted.py)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from atoll.base.errors import AtollError, ProgramFailed, UsageError
from atoll.installer.apply.encryption import (
    MEMORY,
    SECTOR,
    KeyDerivation,
    Secret,
    add_recovery_key,
    check_passphrase,
    is_passphrase,
    make_volume,
    parse_recovery_key,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(shutil.which("cryptsetup") is None, reason="needs cryptsetup"),
    pytest.mark.skipif(
        shutil.which("systemd-cryptenroll") is None, reason="needs systemd-cryptenroll"
    ),
]
SIZE = 32 << 20
PASSPHRASE = Secret("tränen und 'Wein' $1".encode())
CHEAP = KeyDerivation(memory=64, rounds=4)
STEP = 3
LEAST_WRITES = 10
"""cryptsetup writes about 45 times: each third one is cut."""


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "partition.img"
    with path.open("wb") as file:
        file.truncate(SIZE)
    return path


def dump(device: Path) -> dict[str, object]:
    done = subprocess.run(
        ["cryptsetup", "luksDump", "--dump-json-metadata", device], check=True, capture_output=True
    )
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_a_volume_opens_by_its_passphrase_and_by_the_recovery_key_only(device: Path) -> None:
    uuid = str(uuid4())
    make_volume(device, uuid, PASSPHRASE, CHEAP)
    key = add_recovery_key(device, PASSPHRASE)
    assert is_passphrase(device, PASSPHRASE)
    assert is_passphrase(device, Secret(key.text.encode()))
    assert not is_passphrase(device, Secret(PASSPHRASE.value + b"\n"))
    assert not is_passphrase(device, Secret(b"other"))
    said = subprocess.run(["cryptsetup", "luksUUID", device], check=True, capture_output=True)
    assert said.stdout.decode().strip() == uuid
    slots = subprocess.run(["systemd-cryptenroll", device], check=True, capture_output=True)
    assert [line.split()[1] for line in slots.stdout.decode().splitlines()[1:]] == [
        "password",
        "recovery",
    ]


def test_a_small_machine_can_open_what_a_large_one_made(device: Path) -> None:
    make_volume(device, str(uuid4()), PASSPHRASE, KeyDerivation(rounds=4))
    found = json.dumps(dump(device))
    assert '"type": "argon2id"' in found
    assert f'"memory": {MEMORY}' in found
    assert f'"sector_size": {SECTOR}' in found


def test_a_partition_of_any_size_gets_whole_sectors(device: Path) -> None:
    os.truncate(device, SIZE + 512)
    make_volume(device, str(uuid4()), PASSPHRASE, CHEAP)
    assert '"sector_size": 512' in json.dumps(dump(device))


def test_the_qr_code_says_the_key(device: Path) -> None:
    make_volume(device, str(uuid4()), PASSPHRASE, CHEAP)
    key = add_recovery_key(device, PASSPHRASE)
    if not key.qr_code:
        pytest.skip("needs libqrencode4")
    assert len({len(line) for line in key.qr_code}) == 1
    assert len(key.qr_code) * 2 >= len(key.qr_code[0]) - 2


def test_errors_show_no_secret(
    device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_volume(device, str(uuid4()), PASSPHRASE, CHEAP)
    key = add_recovery_key(device, PASSPHRASE)
    assert key.text not in repr(key)
    assert "Wein" not in repr(PASSPHRASE)
    with pytest.raises(ProgramFailed) as caught:
        add_recovery_key(device, Secret(b"wrong guess"))
    assert "wrong guess" not in str(caught.value)
    # One that has shown its key when it fails.
    program = tmp_path / "bin" / "systemd-cryptenroll"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho {key.text}\necho no space >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    with pytest.raises(ProgramFailed) as caught:
        add_recovery_key(device, PASSPHRASE)
    assert "no space" in str(caught.value)
    assert key.text not in str(caught.value)


def test_a_key_that_is_not_shown_is_an_error() -> None:
    with pytest.raises(AtollError, match="did not show it"):
        parse_recovery_key("New recovery key enrolled as key slot 1.\n")


@pytest.mark.parametrize("passphrase", ["", "a\nb", "a\tb", "\x1b[A", "x" * 513])
def test_what_nobody_can_type_is_refused(passphrase: str) -> None:
    with pytest.raises(UsageError):
        check_passphrase(passphrase)


def test_words_can_be_typed() -> None:
    assert check_passphrase("drei Wörter hier").value == "drei Wörter hier".encode()


def cut(write: int, argv: list[str | Path], secret: bytes) -> bool:
    """Run a program that is killed at this one of its writes; whether it came so far."""
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject=write:signal=KILL:when={write}"]
        + [str(word) for word in argv],
        input=secret,
        capture_output=True,
        check=False,
    )
    return done.returncode != 0


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_after_a_cut_at_any_write_formatting_starts_again(device: Path) -> None:
    argv: list[str | Path] = ["cryptsetup", "luksFormat", "--type=luks2", "--batch-mode"]
    argv += ["--pbkdf=pbkdf2", "--pbkdf-force-iterations=1000", "--key-file=-", device]
    write = 1
    while cut(write, argv, b"an older one"):
        make_volume(device, str(uuid4()), PASSPHRASE, CHEAP)
        assert is_passphrase(device, PASSPHRASE)
        assert not is_passphrase(device, Secret(b"an older one"))
        write += STEP
    assert write > LEAST_WRITES


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_cut_while_the_recovery_key_is_added_leaves_the_passphrase(
    device: Path, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_bytes(PASSPHRASE.value)
    key.chmod(0o600)
    argv: list[str | Path] = ["systemd-cryptenroll", "--recovery-key", f"--unlock-key-file={key}"]
    make_volume(device, str(uuid4()), PASSPHRASE, CHEAP)
    write = 1
    while cut(write, [*argv, device], b""):
        assert is_passphrase(device, PASSPHRASE)
        write += 1
    assert write > 1
