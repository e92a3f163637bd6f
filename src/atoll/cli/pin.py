"""``atoll pin N``: protect a deployment from removal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.cli.arguments import format_option
from atoll.machine.deployments.sysroot import find_installed
from atoll.machine.pin import set_pin

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``atoll unpin`` has the same arguments."""
    parser.add_argument(
        "number", type=int, metavar="N", help="number of the deployment, as shown by atoll status"
    )
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="use the machine in this directory"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    return run_pin(arguments, reporter, pinned=True)


def run_pin(arguments: argparse.Namespace, reporter: Reporter, *, pinned: bool) -> int:
    title = set_pin(find_installed(arguments.root), arguments.number, pinned=pinned)
    if arguments.json:
        print(json.dumps({"deployment": arguments.number, "pinned": pinned}))
    state = "is pinned" if pinned else "is no longer pinned"
    reporter.notice(f"{title} {state}; see: atoll status{format_option('--root', arguments.root)}")
    return 0
