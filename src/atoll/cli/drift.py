"""``atoll drift``: what differs on this machine from its image."""

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
        help="deployment to compare with (default: the booted one)",
    )
    parser.add_argument(
        "--verify", action="store_true", help="also read and verify every file of the image"
    )
    parser.add_argument(
        "--adopt",
        nargs="*",
        metavar="ITEM",
        help="write what differs into the machine file: all but secrets, or only the named paths,"
        " units, user:NAME, group:NAME, password:NAME, kernel",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before --adopt writes")
