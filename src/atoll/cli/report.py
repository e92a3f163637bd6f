"""``atoll report``: what others need to find out why something does not work here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.cli.arguments import add_machine_arguments

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_machine_arguments(parser)
    parser.add_argument(
        "--deployment",
        type=int,
        metavar="N",
        help="deployment to report on (default: the booted one)",
    )
    parser.add_argument(
        "--with-names",
        action="store_true",
        help="keep host name, user names, addresses and serial numbers",
    )
