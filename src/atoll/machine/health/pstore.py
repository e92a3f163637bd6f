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
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.host.fs import read_regular

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    found = {parse_panic(name, text) for name, text in _read_records(places)}
    return tuple(sorted((each for each in found if each), key=lambda panic: panic.when))


def read_last_panic(since: int, places: tuple[Path, ...] = RECORDS) -> str:
    """The part of the newest record that has the panic itself, with the messages before it; empty
    if there is none since ``since``, in seconds since 1970."""
    found = [
        (panic.when, text)
        for name, text in _read_records(places)
        if (panic := parse_panic(name, text)) is not None and panic.when >= since
    ]
    return max(found, default=(0, ""))[1]


def _read_records(places: tuple[Path, ...]) -> Iterator[tuple[str, str]]:
    """The path of each record relative to its place, and its text."""
    for place in places:
        for path in place.rglob("*dmesg*") if place.is_dir() else ():
            if path.is_file():
                with suppress(OSError, Damaged):
                    data = read_regular(path, limit=RECORD_LIMIT)
                    yield str(path.relative_to(place)), data.decode(errors="replace")
