"""What the last automatic update of this boot did: ``/run/atoll/auto.json``, for ``auto status``::

{"format": 1, "when": 1790000000, "outcome": "staged", "text": "hello 2 is staged"}
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from atoll.base.errors import Damaged
from atoll.base.fields import parse_json_fields
from atoll.host.fs import read_if_there, replace_file

FORMAT = 1
LAST_RUN = Path("/run/atoll/auto.json")


class AutoOutcome(StrEnum):
    """How an automatic update ended."""

    OFF = "off"
    """The policy wants none."""
    NOT_NOW = "not now"
    """Something holds it back."""
    CURRENT = "current"
    """There is no newer version, or the newer one is held."""
    AVAILABLE = "available"
    DOWNLOADED = "downloaded"
    STAGED = "staged"
    REBOOTING = "rebooting"
    FAILED = "failed"

    @property
    def did_nothing(self) -> bool:
        return self in (AutoOutcome.OFF, AutoOutcome.NOT_NOW, AutoOutcome.CURRENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """``when`` is in seconds since 1970; ``text`` is for people."""

    when: int
    outcome: AutoOutcome
    text: str


def write_last_run(last: LastRun, path: Path = LAST_RUN) -> None:
    document = {
        "format": FORMAT,
        "when": last.when,
        "outcome": last.outcome.value,
        "text": last.text,
    }
    replace_file(path, json.dumps(document).encode() + b"\n")


def read_last_run(path: Path = LAST_RUN) -> LastRun | None:
    """None before the first run of this boot. Raises Damaged."""
    data = read_if_there(path)
    if data is None:
        return None
    fields = parse_json_fields(data, file=str(path))
    fields.require_format(FORMAT)
    try:
        outcome = AutoOutcome(fields.string("outcome"))
    except ValueError:
        raise Damaged(f"{path} does not say what the last run did") from None
    return LastRun(when=fields.integer("when"), outcome=outcome, text=fields.string("text"))
