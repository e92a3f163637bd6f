"""``atoll remove``: what it does; ``cli/remove.py`` has its arguments."""

from __future__ import annotations

from shlex import join
from typing import TYPE_CHECKING

from atoll.cli.run_change import run_change
from atoll.layering.change_machine import ChangeRequest
from atoll.layering.change_packages import edit_for_remove

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from atoll.base.report import Reporter


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    request = make_request(arguments.packages)
    return run_change(arguments, request, reporter, undo=f"add {join(arguments.packages)}")


def make_request(names: Sequence[str]) -> ChangeRequest:
    return ChangeRequest(
        verb="remove", edit=lambda text, machine: edit_for_remove(text, names, machine)
    )
