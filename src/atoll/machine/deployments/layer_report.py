"""What the last upgrade made of the packages of the machine file, where not all of them fit.

``atoll/state/layers.json``, written by an upgrade, removed by one that kept all::

    {"format": 1, "image": "hello 3", "held": false,
     "layers": [{"package": "htop", "reason": "..."}]}

``held``: nothing changed, because of this. Else these packages left the machine file. While the
report is there, ``/run/motd.d/55-atoll-layers`` says the same at each login.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from atoll.base.errors import Damaged
from atoll.base.fields import parse_json_fields
from atoll.base.text import one_line
from atoll.host.fs import make_directory, read_if_there, replace_file

NAME = "layers.json"
FORMAT = 1
RUN = Path("/run")
MOTD = Path("motd.d/55-atoll-layers")


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


def describe_layers(report: LayerReport, *, edit: str) -> tuple[str, ...]:
    """What the last upgrade did with packages that do not fit, in lines. ``edit`` is the command
    that changes the machine file."""
    if not report.held:
        return tuple(
            f"left out at the last upgrade: {one_line(each.package)}: {one_line(each.reason)}"
            for each in report.layers
        )
    reasons = (": ".join(filter(None, (each.package, each.reason))) for each in report.layers)
    return (
        f"UPGRADES ARE HELD: the machine file does not fit {one_line(report.image)}",
        *(f"  {one_line(reason)}" for reason in reasons),
        f'  to go on: change it ({edit}), or set there: [update] layers = "drop"',
    )


def update_login_notice(state: Path, *, run: Path = RUN) -> None:
    """Say at each login what ``status`` says of the report below ``state``; nothing without one."""
    try:
        report = read_layer_report(state)
        lines = () if report is None else describe_layers(report, edit="sudo atoll edit")
    except (Damaged, OSError) as error:
        lines = (f"it is not known which packages fit: {one_line(str(error))}",)
    if not lines:
        (run / MOTD).unlink(missing_ok=True)
        return
    text = "\n".join((f"Atoll: {lines[0]}", *lines[1:], ""))
    make_directory((run / MOTD).parent)
    replace_file(run / MOTD, text.encode())
