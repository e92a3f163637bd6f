"""``atoll history``: the upgrades, rollbacks and boots of a machine, newest first."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.text import one_line
from atoll.cli.output.progress import format_moment
from atoll.machine.deployments.history import read_history
from atoll.machine.deployments.sysroot import find_sysroot

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
    from atoll.machine.deployments.history import HistoryEvent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="use the machine in this directory"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:  # noqa: ARG001
    events = read_history(find_sysroot(arguments.root).state)[::-1]
    if arguments.json:
        print(json.dumps({"events": [asdict(each) for each in events]}, indent=2))
    else:
        print("\n".join(map(format_event, events)) or "the history is empty")
    return 0


def format_event(event: HistoryEvent) -> str:
    when = format_moment(event.when)
    was = f", before {event.was}" if event.was not in (None, event.deployment) else ""
    title = f"{event.name} {event.version}".strip()
    number = "" if event.deployment is None else f" ({event.deployment}{was})"
    return one_line(f"{when}  {event.what:<10} {title}{number}")
