"""An encrypted state partition: a LUKS2 volume that a passphrase or a recovery key opens.

cryptsetup formats and opens it, systemd-cryptenroll makes the recovery key. Secrets reach both
through stdin only: never as an argument, in the environment, in a log or in a file that has a name.

A power cut before the end leaves a partition that is no volume, or one that nobody boots: the boot
entry that names it is written last, and formatting starts from nothing each time.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from atoll.base.errors import AtollError, ProgramFailed, UsageError
from atoll.host.run import require_program, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

LABEL = "atoll"
SECTOR, SMALL_SECTOR = 4096, 512
"""Bytes that are encrypted at once: the block size of the file system, or where the partition is no
multiple of it, which would then not open (``choose_sector``), the smallest."""
MEMORY = 64 * 1024
"""KiB that argon2id needs to open the volume, also in early boot of a machine with 512 MiB: what
RFC 9106 recommends where memory is scarce. cryptsetup itself would take up to 1 GiB."""
MILLISECONDS = 2000
"""How long one guess takes on the machine that formats."""
LONGEST = 512
"""Bytes of a passphrase: more cannot be typed at cryptsetup's own prompt."""
MAPPINGS = Path("/dev/mapper")

_KEY = re.compile(r"(?:[cbdefghijklnrtuv]{8}-){7}[cbdefghijklnrtuv]{8}")
"""As systemd writes a recovery key: 256 bits in modhex, letters that are on the same keys in most
layouts."""
_COLOR = re.compile(r"\x1b\[[0-9;:]*m")
_QR_LINE = re.compile(r"[ █▀▄]{20,}")
_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "1"}
"""systemd-cryptenroll draws the QR code only on a terminal with UTF-8 and colors. Nothing else of
the environment: PASSWORD in it would count as the passphrase."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Bytes that no message, log or traceback shows."""

    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encryption:
    """What a person wants: the volume opens with ``passphrase``, and with a recovery key too."""

    passphrase: Secret
    recovery: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryKey:
    """Shown once, never stored. ``qr_code`` are lines of block characters, light on dark; empty
    where libqrencode is not installed."""

    text: str = field(repr=False)
    qr_code: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LuksVolume:
    """A volume on ``device``, opened as the block device ``mapping``."""

    device: Path
    uuid: str
    mapping: Path
    recovery_key: RecoveryKey | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDerivation:
    """What one guess costs: KiB of memory, and so many milliseconds on the machine that formats.
    ``rounds`` of argon2id, when set, are taken instead of measuring those."""

    memory: int = MEMORY
    milliseconds: int = MILLISECONDS
    rounds: int | None = None

    def options(self) -> tuple[str, ...]:
        """For cryptsetup."""
        how_long = (
            f"--iter-time={self.milliseconds}"
            if self.rounds is None
            else f"--pbkdf-force-iterations={self.rounds}"
        )
        return ("--pbkdf=argon2id", f"--pbkdf-memory={self.memory}", how_long)


DEFAULT_COST = KeyDerivation()


def check_passphrase(passphrase: str) -> Secret:
    """Raises UsageError for one that cannot be typed in early boot."""
    data = passphrase.encode()
    if not passphrase:
        raise UsageError("the passphrase is empty", hint="choose one of at least a few words")
    if not passphrase.isprintable():
        raise UsageError(
            "the passphrase contains a character that no key types",
            hint="use letters, digits, punctuation and spaces",
        )
    if len(data) > LONGEST:
        raise UsageError(f"the passphrase is longer than {LONGEST} bytes", hint="shorten it")
    return Secret(data)


def require_programs() -> None:
    """Raises MissingProgram."""
    require_program("cryptsetup", package="cryptsetup-bin")
    require_program("systemd-cryptenroll", package="systemd-cryptsetup (systemd in Debian 12)")


def format_luks(
    device: Path, encryption: Encryption, cost: KeyDerivation = DEFAULT_COST
) -> LuksVolume:
    """Make ``device`` an encrypted volume and open it. What was on it is lost.

    Raises ProgramFailed or MissingProgram; then nothing is open.
    """
    require_programs()
    uuid = str(uuid4())
    make_volume(device, uuid, encryption.passphrase, cost)
    key = add_recovery_key(device, encryption.passphrase) if encryption.recovery else None
    mapping = open_volume(device, uuid, encryption.passphrase)
    return LuksVolume(device=device, uuid=uuid, mapping=mapping, recovery_key=key)


@contextmanager
def formatted_luks(
    device: Path, encryption: Encryption, cost: KeyDerivation = DEFAULT_COST
) -> Iterator[LuksVolume]:
    """``format_luks`` for the time of a block: the mapping is closed when it ends."""
    volume = format_luks(device, encryption, cost)
    try:
        yield volume
    finally:
        close_volume(volume.mapping)


def make_volume(device: Path, uuid: str, passphrase: Secret, cost: KeyDerivation) -> None:
    """Write the header and the slot of the passphrase. Raises ProgramFailed."""
    argv: list[str | Path] = [
        require_program("cryptsetup", package="cryptsetup-bin"),
        "luksFormat",
        "--type=luks2",
        "--batch-mode",
        f"--uuid={uuid}",
        f"--label={LABEL}",
        f"--sector-size={choose_sector(device)}",
        *cost.options(),
        "--key-file=-",
        device,
    ]
    run(argv, stdin=passphrase.value)


def choose_sector(device: Path) -> int:
    """The kernel opens only volumes of whole sectors, and a partition that somebody else made may
    have any size. Raises OSError."""
    with device.open("rb") as file:
        return SMALL_SECTOR if file.seek(0, os.SEEK_END) % SECTOR else SECTOR


def add_recovery_key(device: Path, passphrase: Secret) -> RecoveryKey:
    """Add a slot for a new recovery key. Raises ProgramFailed, which does not show the key."""
    argv: list[str | Path] = [
        require_program("systemd-cryptenroll", package="systemd-cryptsetup"),
        "--recovery-key",
        "--unlock-key-file=/dev/stdin",
        device,
    ]
    # The program reads the passphrase as a file, and refuses a pipe: a file without a name.
    with _memory_file(passphrase.value) as source, _memory_file() as log:
        try:
            run(argv, stdin=source, env=_ENVIRONMENT | _path(), log=log)
        except ProgramFailed as error:
            tail = _KEY.sub("(recovery key)", error.stderr_tail)
            raise ProgramFailed(error.argv, error.status, tail) from None
        log.seek(0)
        return parse_recovery_key(log.read().decode(errors="replace"))


def parse_recovery_key(text: str) -> RecoveryKey:
    """What systemd-cryptenroll wrote. Raises AtollError when no key is in it."""
    plain = _COLOR.sub("", text)
    found = _KEY.search(plain)
    if found is None:
        raise AtollError(
            "systemd-cryptenroll added a recovery key but did not show it",
            hint="format the volume again",
        )
    lines = (line.strip("\r") for line in plain.splitlines())
    code = tuple(line for line in lines if _QR_LINE.fullmatch(line) and line.strip())
    return RecoveryKey(text=found.group(), qr_code=code)


def open_volume(device: Path, uuid: str, passphrase: Secret) -> Path:
    """Open it as a block device, whose path is returned. Raises ProgramFailed.

    Discarded blocks are passed on to the disk from now on, whoever opens it, so that fstrim works:
    who has the disk can see which blocks are free.
    """
    name = f"atoll-{uuid[:8]}"
    run(
        [
            require_program("cryptsetup", package="cryptsetup-bin"),
            "open",
            "--type=luks2",
            "--allow-discards",
            "--persistent",
            "--key-file=-",
            device,
            name,
        ],
        stdin=passphrase.value,
    )
    return MAPPINGS / name


def close_volume(mapping: Path) -> None:
    """Raises ProgramFailed when it is still in use."""
    run([require_program("cryptsetup", package="cryptsetup-bin"), "close", mapping.name])


def is_passphrase(device: Path, passphrase: Secret) -> bool:
    """Whether ``passphrase`` opens the volume on ``device``. Raises ProgramFailed for any other
    error than a wrong passphrase."""
    program = require_program("cryptsetup", package="cryptsetup-bin")
    try:
        run(
            [program, "open", "--type=luks2", "--test-passphrase", "--key-file=-", device],
            stdin=passphrase.value,
        )
    except ProgramFailed as error:
        if error.status == _NO_SUCH_KEY:
            return False
        raise
    return True


_NO_SUCH_KEY = 2
"""How cryptsetup ends when no slot takes a passphrase."""


def _path() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath)}


@contextmanager
def _memory_file(content: bytes = b"") -> Iterator[IO[bytes]]:
    """A file in memory without a name, at its beginning."""
    with os.fdopen(os.memfd_create("atoll", os.MFD_CLOEXEC), "w+b", buffering=0) as file:
        file.write(content)
        file.seek(0)
        yield file
