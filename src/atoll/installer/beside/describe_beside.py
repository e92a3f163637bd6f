"""The plan of an installation beside the system that runs, as text of 80 columns. Pure."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from atoll.base.text import one_line
from atoll.installer.devices.describe_devices import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.installer.beside.plan_beside import BesidePlan

COLUMNS = 80
_TITLE = 14


def format_beside(plan: BesidePlan) -> str:
    """What is written where, what comes along, and how the old system starts."""
    system = one_line(plan.system.title)
    minutes = -(-plan.seconds // 60)
    sections = [
        list(_wrapped(f"Beside {system} on {plan.device.name}, which stays as it is.")),
        [
            "Written",
            *_row(plan.device.name, f"the directory /atoll, {format_bytes(plan.to_write)}"),
            *_row(plan.esp.name, "boot loader, kernel and boot entries on the ESP"),
            *_row("firmware", "Atoll becomes the first of its systems; the others stay"),
        ],
        ["Comes along (to leave one out: --without NAME)", *_items(plan)],
        ["Stays behind", *_behind(plan)] if plan.carried.notes else [],
        [
            *_wrapped(
                f"The boot menu starts {system}, too, and does so by itself when the new system"
                " fails three times. Started from there, atoll install --undo removes all that is"
                " written now."
            ),
            *_wrapped(
                f"The installation takes about {minutes} minute{'s' if minutes > 1 else ''}."
            ),
            *(line for note in plan.notes for line in _wrapped(note)),
        ],
    ]
    return "\n".join("\n".join(lines) + "\n" for lines in sections if lines)


def beside_as_json(plan: BesidePlan) -> dict[str, object]:
    home = plan.home
    return {
        "beside": plan.system.title,
        "state": str(plan.device),
        "esp": str(plan.esp),
        "home": None if home is None else (home.shared or home.line.split()[0]),
        "carried": {str(each.item): each.detail for each in plan.carried.items},
        "left": list(plan.carried.notes),
    }


def _items(plan: BesidePlan) -> Iterator[str]:
    for each in plan.carried.items:
        yield from _row(str(each.item), f"{each.title}: {one_line(each.detail)}")
    if not plan.carried.items:
        yield "  nothing"


def _behind(plan: BesidePlan) -> Iterator[str]:
    for note in plan.carried.notes:
        text = one_line(note)
        yield from textwrap.wrap(text, COLUMNS, initial_indent="  ", subsequent_indent="    ")


def _row(name: str, text: str) -> Iterator[str]:
    head = f"  {name:<{_TITLE}}"
    yield from textwrap.wrap(
        text, COLUMNS, initial_indent=head, subsequent_indent=" " * len(head)
    ) or [head.rstrip()]


def _wrapped(text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, COLUMNS)
