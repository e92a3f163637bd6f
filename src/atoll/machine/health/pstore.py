"""Kernel panics of earlier boots, from the logs that the firmware keeps (pstore).

The kernel shows a record of the firmware as a file ``dmesg-efi_pstore-<number>``; early in a boot
``systemd-pstore`` moves it to ``/var/lib/systemd/pstore/<seconds>/…``. Its number begins with the
seconds since 1970, ten digits.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from atoll.base.errors import Damaged
from atoll.host.fs import read_regular

RECORDS = (Path("/sys/fs/pstore"), Path("/var/lib/systemd/pstore"))
RECORD_LIMIT = 1 << 22
"""Bytes of a record: firmware keeps some kilobytes."""
_TIME = re.compile(r"(?<![0-9])([1-9][0-9]{9})")
_MESSAGE = re.compile(r"Kernel panic - not syncing: ([^\r\n]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Panic:
    when: int
    message: str


def parse_panic(name: str, text: str) -> Panic | None:
    """The panic in a record; ``name`` is its path, which has the time. None if the record is not of
    a panic, or has no time."""
    time, message = _TIME.search(name), _MESSAGE.search(text)
    if time is None or message is None:
        return None
    words = "".join(letter if letter.isprintable() else " " for letter in message[1]).strip()
    return Panic(when=int(time[1]), message=words)


def read_panics(places: tuple[Path, ...] = RECORDS) -> tuple[Panic, ...]:
    """Oldest first. The firmware splits a record into parts, which together report one panic."""
    found = set()
    for place in places:
        for path in place.rglob("*dmesg*") if place.is_dir() else ():
            if path.is_file():
                name = str(path.relative_to(place))
                with suppress(OSError, Damaged):
                    data = read_regular(path, limit=RECORD_LIMIT)
                    found.add(parse_panic(name, data.decode(errors="replace")))
    return tuple(sorted((each for each in found if each), key=lambda panic: panic.when))
