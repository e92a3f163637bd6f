"""The record of an older system that this one was installed beside: ``atoll/beside.json``.

It is the first file that ``atoll install --beside`` writes and the last one that ``--undo``
removes, and says what was there before::

    {"format": 1, "system": "Debian GNU/Linux 13 (trixie)", "esp": "<UUID in the partition table>",
     "absent": ["loader", "loader/loader.conf"], "times": {"EFI": 1790000000000000000},
     "top_time": 1790000000000000000, "order": ["0003", "0000"], "entries": ["0000", "0003"]}

The older system shares its file system with this one, so nothing may change the partition's size.
``atoll/state/home`` is the place of its home directories, from the root of that file system, as
early boot mounts them (``early-boot.d/home.sh``).
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError
from atoll.base.fields import parse_json_fields
from atoll.host.fs import read_if_there

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atoll.machine.deployments.sysroot import Sysroot

RECORD = "beside.json"
"""Below ``atoll/``."""
HOME = "home"
"""In ``atoll/state``: one line, the path of a directory."""
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BesideRecord:
    """What was there before. Paths are from the root of the ESP, times nanoseconds since 1970."""

    system: str
    """What the older system calls itself."""
    esp: str
    """The UUID of its partition in the partition table, in lower case."""
    absent: tuple[str, ...]
    """Files and directories that were not there, of those that Atoll writes."""
    times: Mapping[str, int]
    """When those directories were changed that Atoll writes to and that were there."""
    top_time: int
    """When the root directory of the file system was changed."""
    order: tuple[str, ...]
    """The firmware's boot order; the numbers of its entries are in ``entries``."""
    entries: tuple[str, ...]


def format_record(record: BesideRecord) -> bytes:
    document = {
        "format": FORMAT,
        "system": record.system,
        "esp": record.esp,
        "absent": list(record.absent),
        "times": dict(record.times),
        "top_time": record.top_time,
        "order": list(record.order),
        "entries": list(record.entries),
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def parse_record(data: bytes, *, where: str) -> BesideRecord:
    """Raises Damaged."""
    fields = parse_json_fields(data, file=where)
    fields.require_format(FORMAT)
    times = fields.within("times")
    return BesideRecord(
        system=fields.string("system"),
        esp=fields.string("esp"),
        absent=fields.strings("absent"),
        times={path: times.integer(path) for path in times.table},
        top_time=fields.integer("top_time"),
        order=fields.strings("order"),
        entries=fields.strings("entries"),
    )


def find_record(sysroot: Sysroot) -> BesideRecord | None:
    """None on a machine that Atoll has for itself. Raises Damaged or OSError."""
    place = sysroot.atoll / RECORD
    data = read_if_there(place)
    return None if data is None else parse_record(data, where=str(place))


def find_older_system(sysroot: Sysroot) -> str:
    """What the older system calls itself; empty where there is none, or the record is damaged: it
    decides nothing that ``status`` shows."""
    with suppress(AtollError, OSError):
        record = find_record(sysroot)
        return "" if record is None else record.system
    return ""
