"""The history of a machine, in ``atoll/state/history``: one line of JSON per event, oldest first::

    {"when": 1790000000, "what": "upgrade", "deployment": 2, "was": 1, "name": "hello",
     "version": "2", "tree": "<64 hex>", "image": "docker://…"}

``deployment`` boots next from then on, and ``was`` did before. For a ``boot`` event, ``deployment``
is the one that runs. A line that a power cut left incomplete is skipped.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from atoll.base.errors import Damaged
from atoll.base.json import parse_json
from atoll.host.fs import fsync_directory, read_if_there, space_errors

if TYPE_CHECKING:
    from pathlib import Path

NAME = "history"
BOOT = "boot"
"""The name of the event that records that a deployment has booted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEvent:
    """``when`` is in seconds since 1970."""

    when: int
    what: str
    deployment: int | None = None
    was: int | None = None
    name: str = ""
    version: str = ""
    tree: str = ""
    image: str = ""


def read_history(state: Path) -> tuple[HistoryEvent, ...]:
    """Oldest first; empty for a user who may not read it."""
    try:
        data = read_if_there(state / NAME) or b""
    except PermissionError:
        return ()
    return tuple(event for line in data.splitlines() if (event := parse_event(line)) is not None)


def parse_event(line: bytes) -> HistoryEvent | None:
    """None for a line that is not a valid event."""
    try:
        found: Any = parse_json(line, where="a line")
        when, what = found["when"], found["what"]
        numbers = [found.get(key) for key in ("deployment", "was")]
        texts = [found.get(key, "") for key in ("name", "version", "tree", "image")]
    except (ValueError, KeyError, TypeError, AttributeError, Damaged):
        return None
    whole = all(each is None or type(each) is int for each in numbers)
    if (
        type(when) is not int
        or not whole
        or not all(isinstance(each, str) for each in [what, *texts])
    ):
        return None
    name, version, tree, image = texts
    return HistoryEvent(
        when=when,
        what=what,
        deployment=numbers[0],
        was=numbers[1],
        name=name,
        version=version,
        tree=tree,
        image=image,
    )


def format_event(event: HistoryEvent) -> bytes:
    return json.dumps(asdict(event)).encode() + b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordEvent:
    """Append a line durably; a line that a power cut left incomplete is ended first."""

    state: Path
    event: HistoryEvent

    def describe(self) -> str:
        return f"record in the history: {self.event.what}"

    def execute(self) -> None:
        path = self.state / NAME
        with space_errors(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                size = os.fstat(handle).st_size
                torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
                os.write(handle, (b"\n" if torn else b"") + format_event(self.event))
                os.fsync(handle)
            finally:
                os.close(handle)
            fsync_directory(self.state)
