"""``atoll apply``: what it does; ``cli/apply.py`` has its arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.cli.run_change import run_change
from atoll.layering.change_machine import ChangeRequest, Edited

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    return run_change(arguments, make_request(), reporter)


def make_request() -> ChangeRequest:
    """The machine file as it is."""
    return ChangeRequest(verb="apply", edit=lambda text, _machine: Edited(text=text))
