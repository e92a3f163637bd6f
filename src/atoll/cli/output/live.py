"""What a live change did, as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atoll.base.text import one_line
from atoll.machine.live.record import units_as_json

if TYPE_CHECKING:
    from atoll.machine.live.record import LiveResult

MOST = 10
"""How many units of a kind are printed; the rest is counted."""


def live_as_json(result: LiveResult) -> dict[str, Any]:
    return {**units_as_json(result.units), "warnings": list(result.warnings)}


def live_lines(result: LiveResult) -> list[str]:
    units = result.units
    kinds = (("stopped", units.stop), ("started", units.start), ("restarted", units.restart))
    lines = [f"{what}: {_names(names)}" for what, names in kinds if names]
    lines += [f"{name} runs on as it was: {why}" for name, why in units.kept[:MOST]]
    if len(units.kept) > MOST:
        lines.append(f"… and {len(units.kept) - MOST} more units run on as they were")
    lines += [f"warning: {each}" for each in result.warnings]
    return [one_line(line) for line in lines]


def _names(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more
