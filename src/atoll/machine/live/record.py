"""The record of a live change, in ``/run/atoll``: it lasts as long as the mounts do.

::

    live-change.json   while a change is being made: {"format": 1, "from": 3, "to": 4,
                       "phase": "asked", "own": "ssh.service", "stop": [], "start": [],
                       "restart": [], "kept": [["dbus.service", "why"]], "protected": []}
    live-result.json   what the last one did, for the verb that asked for it
    running            {"deployment": 4, "tree": "<64 hex>"}: whose /usr and /etc run, where that is
                       not the deployment that was booted

``phase`` is ``asked`` (nothing has changed yet), ``switching`` (mounts are being exchanged) or
``switched`` (the new ones are there; caches and units follow). A change that was interrupted is
continued from there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.base.fields import Flaw, parse_json_fields
from atoll.host.fs import read_if_there, replace_file
from atoll.machine.live.units import UnitPlan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atoll.machine.deployment import Deployment

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LivePlaces:
    """Where the running system is: ``root`` is ``/``, ``run`` is ``/run/atoll``."""

    root: Path = Path("/")
    run: Path = Path("/run/atoll")

    @property
    def change(self) -> Path:
        return self.run / "live-change.json"

    @property
    def result(self) -> Path:
        return self.run / "live-result.json"

    @property
    def running(self) -> Path:
        return self.run / "running"

    @property
    def work(self) -> Path:
        """Mount points of the private namespace in which a change prepares its mounts."""
        return self.run / "live-mounts"


class Phase(StrEnum):
    """How far a live change is."""

    ASKED = "asked"
    SWITCHING = "switching"
    SWITCHED = "switched"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveChange:
    """From deployment ``source`` to deployment ``target``.

    ``own`` is the unit that asked, ``protected`` are mount namespaces (by inode) in which ``/etc``
    is read-only.
    """

    source: int
    target: int
    phase: Phase = Phase.ASKED
    own: str = ""
    units: UnitPlan = field(default_factory=UnitPlan)
    protected: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveResult:
    """What a live change did. ``error`` and ``hint`` say why nothing was done, if so."""

    units: UnitPlan = field(default_factory=UnitPlan)
    warnings: tuple[str, ...] = ()
    error: str = ""
    hint: str = ""


def read_change(places: LivePlaces) -> LiveChange | None:
    """The change that is not finished, if any. Raises Damaged."""
    data = read_if_there(places.change)
    if data is None:
        return None
    fields = parse_json_fields(data, file=str(places.change))
    fields.require_format(FORMAT)
    try:
        phase = Phase(fields.string("phase"))
    except ValueError:
        raise Damaged(f"{places.change} has an unknown phase") from None
    return LiveChange(
        source=fields.integer("from"),
        target=fields.integer("to"),
        phase=phase,
        own=fields.string("own"),
        units=_parse_units(fields.table),
        protected=tuple(map(int, fields.strings("protected", check=_check_inode))),
    )


def _check_inode(text: str) -> Flaw | None:
    return None if text.isdecimal() else Flaw("is not an inode")


def format_change(change: LiveChange) -> bytes:
    document = {
        "format": FORMAT,
        "from": change.source,
        "to": change.target,
        "phase": change.phase.value,
        "own": change.own,
        "protected": [str(inode) for inode in change.protected],
        **units_as_json(change.units),
    }
    return json.dumps(document).encode() + b"\n"


def read_result(places: LivePlaces) -> LiveResult | None:
    """Raises Damaged."""
    data = read_if_there(places.result)
    if data is None:
        return None
    fields = parse_json_fields(data, file=str(places.result))
    return LiveResult(
        units=_parse_units(fields.table),
        warnings=fields.strings("warnings"),
        error=fields.string("error"),
        hint=fields.string("hint"),
    )


def write_result(places: LivePlaces, result: LiveResult) -> None:
    document = {
        "warnings": list(result.warnings),
        "error": result.error,
        "hint": result.hint,
        **units_as_json(result.units),
    }
    replace_file(places.result, json.dumps(document).encode() + b"\n", mode=0o600)


def format_running(deployment: Deployment) -> bytes:
    """The same form as ``/run/atoll/booted``."""
    return f'{{"deployment": {deployment.number}, "tree": "{deployment.tree}"}}\n'.encode()


def units_as_json(units: UnitPlan) -> dict[str, object]:
    return {
        "stop": list(units.stop),
        "start": list(units.start),
        "restart": list(units.restart),
        "kept": [list(each) for each in units.kept],
    }


def _parse_units(table: Mapping[str, object]) -> UnitPlan:
    def names(key: str) -> tuple[str, ...]:
        found = table.get(key)
        return tuple(map(str, found)) if isinstance(found, list) else ()

    kept = table.get("kept")
    pairs = [each for each in (kept if isinstance(kept, list) else []) if len(each) == 2]
    return UnitPlan(
        stop=names("stop"),
        start=names("start"),
        restart=names("restart"),
        kept=tuple((str(name), str(why)) for name, why in pairs),
    )
