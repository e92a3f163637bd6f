"""``atoll cancel``: discard a staged or downloaded upgrade, so that what runs boots next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.cli.arguments import format_option
from atoll.machine.deployments.sysroot import find_installed
from atoll.machine.rollback import cancel

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="use the machine in this directory"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    root = format_option("--root", arguments.root)
    done = cancel(find_installed(arguments.root), reporter)
    if arguments.json:
        print(json.dumps({"dropped": list(done.dropped), "warning": done.warning}, indent=2))
    reporter.notice(f"discarded: {', '.join(done.dropped)}; next: atoll status{root}")
    if done.warning:
        reporter.notice(f"warning: {done.warning}\n  next: atoll gc{root}")
    return 0
