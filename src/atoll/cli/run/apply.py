"""``atoll apply``: what it does; ``cli/apply.py`` has its arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from atoll.base.errors import UsageError
from atoll.cli.confirm_time import read_confirm_time
from atoll.cli.output.live import live_as_json, live_lines
from atoll.cli.run_change import run_change
from atoll.layering.change_machine import ChangeRequest, Edited
from atoll.machine.confirm_live import take_back_live
from atoll.machine.deployments.sysroot import find_installed

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    if arguments.undo:
        return _undo(arguments, reporter)
    return run_change(arguments, make_request(), reporter)


def _undo(arguments: argparse.Namespace, reporter: Reporter) -> int:
    if not arguments.live:
        raise UsageError("--undo goes with --live", hint="to go back by a reboot: atoll rollback")
    read_confirm_time(arguments)
    sysroot = find_installed(arguments.root)
    result = take_back_live(sysroot, reporter)
    if arguments.json:
        print(json.dumps({"live": live_as_json(result)}, indent=2))
    for line in live_lines(result):
        reporter.notice(line)
    reporter.notice("what was booted runs again; what boots next: atoll status")
    return 0


def make_request() -> ChangeRequest:
    """The machine file as it is."""
    return ChangeRequest(verb="apply", edit=lambda text, _machine: Edited(text=text))
