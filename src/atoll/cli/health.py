"""``atoll health``: the health of this boot and earlier ones, and which trees are held."""

from __future__ import annotations

import argparse
from pathlib import Path

from atoll.cli.arguments import Parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    # No defaults, so that an inner parser does not overwrite a value that the outer one has read.
    no_default = argparse.SUPPRESS
    verbs = parser.add_subparsers(dest="what", metavar="WHAT", parser_class=Parser)
    check = verbs.add_parser("run", help="run the health checks (run at each boot)")
    bless = verbs.add_parser("bless", help="mark a deployment as good (run after a healthy boot)")
    report = verbs.add_parser("report", help="report boots that failed (run at each boot)")
    grow = verbs.add_parser(
        "grow", help="grow the state partition to fill the disk (run at each boot)"
    )
    for each in (parser, check, bless, report, grow):
        each.add_argument(
            "--json", action="store_true", default=no_default, help="print the result as JSON"
        )
    for each in (parser, bless):
        each.add_argument(
            "--root",
            type=Path,
            metavar="DIR",
            default=no_default,
            help="use the machine in this directory",
        )
    bless.add_argument(
        "--deployment", type=int, metavar="N", help="deployment to use (default: the booted one)"
    )
