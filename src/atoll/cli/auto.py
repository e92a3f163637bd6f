"""``atoll auto``: automatic updates: when, what, and why not."""

from __future__ import annotations

import argparse

from atoll.cli.arguments import Parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    # No defaults, so that an inner parser does not overwrite a value that the outer one has read.
    verbs = parser.add_subparsers(dest="what", metavar="WHAT", parser_class=Parser)
    status = verbs.add_parser("status", help="show when, what, and why not (default)")
    run = verbs.add_parser("run", help="update now, as far as the policy allows (run by a timer)")
    reboot = verbs.add_parser(
        "reboot", help="reboot into what is staged, if nothing is against it (run by a timer)"
    )
    schedule = verbs.add_parser(
        "schedule",
        help="set the timers to the policy (run at each boot and when the machine file changes)",
    )
    for each in (parser, status, run, reboot, schedule):
        each.add_argument(
            "--json",
            action="store_true",
            default=argparse.SUPPRESS,
            help="print the result as JSON",
        )
