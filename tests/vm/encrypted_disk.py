"""A disk image whose state partition is encrypted, made from a plain one without mounting either.

cryptsetup encrypts a plain file where it is (reencrypt), which needs no device mapper. What an
installer would have written is put into the boot entry then.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from uuid import uuid4

from atoll.installer.apply.encryption import (
    KeyDerivation,
    RecoveryKey,
    Secret,
    add_recovery_key,
    is_passphrase,
)
from atoll.machine.boot.boot_entry import EntryName, format_entry, format_entry_name, parse_entry
from atoll.machine.boot.machine_initrd import FOLDER, initrd_name, make_machine_initrd
from atoll.machine.boot.new_entry import luks_options

if TYPE_CHECKING:
    from pathlib import Path

SECTOR = 512
HEADER = 32 << 20
"""Bytes that a volume needs besides its content while it is encrypted in place."""
FIRST = EntryName(sequence=1, tries_left=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptedDisk:
    image: Path
    uuid: str
    recovery_key: RecoveryKey


def encrypt_disk(
    plain: Path, image: Path, passphrase: str, keymap: bytes, words: tuple[str, ...] = ()
) -> EncryptedDisk:
    """``words`` are further ones for the kernel command line."""
    shutil.copyfile(plain, image)
    with image.open("r+b") as file:
        file.truncate(plain.stat().st_size + HEADER)
    size = _partitions(image)[1][1] + HEADER // SECTOR
    _call("sfdisk", "--quiet", "-N2", image, stdin=f", {size}\n".encode())
    esp, state = _partitions(image)
    volume = image.with_suffix(".volume")
    _copy(image, volume, skip=state[0])
    secret, uuid = Secret(passphrase.encode()), str(uuid4())
    _encrypt(volume, uuid, secret)
    key = add_recovery_key(volume, secret)
    assert is_passphrase(volume, secret)
    _copy(volume, image, seek=state[0])
    volume.unlink()
    _change_entry(image, esp[0], uuid, make_machine_initrd(keymap), words)
    return EncryptedDisk(image=image, uuid=uuid, recovery_key=key)


def _encrypt(volume: Path, uuid: str, passphrase: Secret) -> None:
    cost = KeyDerivation(rounds=4)
    _call(
        "cryptsetup",
        "reencrypt",
        "--encrypt",
        "--type=luks2",
        "--batch-mode",
        f"--uuid={uuid}",
        "--sector-size=4096",
        f"--reduce-device-size={HEADER // SECTOR}S",
        "--force-offline-reencrypt",
        *cost.options(),
        "--key-file=-",
        volume,
        stdin=passphrase.value,
    )


def _partitions(image: Path) -> list[tuple[int, int]]:
    """Start and size of each, in sectors."""
    table = json.loads(_call("sfdisk", "--json", image))["partitiontable"]
    return [(each["start"], each["size"]) for each in table["partitions"]]


def _copy(source: Path, target: Path, *, skip: int = 0, seek: int = 0) -> None:
    _call(
        "dd",
        f"if={source}",
        f"of={target}",
        "bs=1M",
        "conv=notrunc,sparse",
        f"skip={skip * SECTOR}B",
        f"seek={seek * SECTOR}B",
    )


def _change_entry(
    image: Path, start: int, uuid: str, initrd: bytes, words: tuple[str, ...]
) -> None:
    esp = f"{image}@@{start * SECTOR}"
    name = format_entry_name(FIRST)
    place = f"::/loader/entries/{name}"
    entry = parse_entry(FIRST, _call("mtype", "-i", esp, place).decode())
    assert entry is not None
    entry = replace(entry, options=(*entry.options, *luks_options(uuid), *words))
    if initrd:
        entry = replace(entry, machine_initrd=f"/{FOLDER}/{initrd_name(initrd)}")
        _call("mmd", "-i", esp, f"::/{FOLDER}")
        _call("mcopy", "-i", esp, "-", f"::/{FOLDER}/{initrd_name(initrd)}", stdin=initrd)
    _call("mcopy", "-o", "-i", esp, "-", place, stdin=format_entry(entry))


def _call(*words: str | Path, stdin: bytes = b"") -> bytes:
    done = subprocess.run(words, input=stdin, stdout=subprocess.PIPE, check=True)
    return bytes(done.stdout)
