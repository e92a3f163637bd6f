"""``atoll kargs``: kernel arguments, and who sets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.cli.arguments import Parser, add_machine_arguments

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="what", metavar="VERB", parser_class=Parser)
    shown = verbs.add_parser("list", help="show the arguments and who sets them (default)")
    add = verbs.add_parser("add", help="add arguments from the next boot on")
    remove = verbs.add_parser("remove", help="remove arguments, also those of the image")
    for each in (add, remove):
        each.add_argument(
            "arguments", nargs="+", metavar="ARG", help="such as quiet or console=ttyS0"
        )
    add_machine_arguments(parser, shown, add, remove)
