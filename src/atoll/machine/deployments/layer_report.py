"""What the last upgrade made of the packages of the machine file, where not all of them fit.

``atoll/state/layers.json``, written by an upgrade, removed by one that kept all::

    {"format": 1, "image": "hello 3", "held": false,
     "layers": [{"package": "htop", "reason": "..."}]}

``held``: nothing changed, because of this. Else these packages left the machine file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.fields import parse_json_fields
from atoll.host.fs import read_if_there, replace_file

if TYPE_CHECKING:
    from pathlib import Path

NAME = "layers.json"
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedLayer:
    """``package`` is the word of the machine file; empty when it is not known which one."""

    package: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReport:
    """``image`` is the title of the image that was wanted."""

    image: str
    held: bool
    layers: tuple[DroppedLayer, ...]


def read_layer_report(state: Path) -> LayerReport | None:
    """Raises Damaged or OSError."""
    data = read_if_there(state / NAME)
    return None if data is None else parse_layer_report(data, where=str(state / NAME))


def parse_layer_report(data: bytes, *, where: str) -> LayerReport:
    """Raises Damaged, naming ``where`` it was."""
    fields = parse_json_fields(data, file=where)
    fields.require_format(FORMAT)
    layers = tuple(
        DroppedLayer(package=each.string("package"), reason=each.string("reason"))
        for each in fields.each("layers")
    )
    return LayerReport(image=fields.string("image"), held=fields.boolean("held"), layers=layers)


def format_layer_report(report: LayerReport) -> bytes:
    document = {
        "format": FORMAT,
        "image": report.image,
        "held": report.held,
        "layers": [{"package": each.package, "reason": each.reason} for each in report.layers],
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def write_layer_report(state: Path, report: LayerReport) -> None:
    replace_file(state / NAME, format_layer_report(report))


def clear_layer_report(state: Path) -> None:
    (state / NAME).unlink(missing_ok=True)
