"""``atoll etc``: list changes in ``/etc``, resolve conflicts, and reset paths to the tree's
version."""

from __future__ import annotations

from argparse import SUPPRESS
from typing import TYPE_CHECKING

from atoll.cli.arguments import Parser, add_machine_arguments

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="what", metavar="WHAT", parser_class=Parser)
    diff = verbs.add_parser("diff", help="list changes to /etc, and conflicts")
    resolve = verbs.add_parser("resolve", help="resolve a conflict")
    resolve.add_argument(
        "path", metavar="PATH", help="path of the conflict, as listed by atoll etc"
    )
    side = resolve.add_mutually_exclusive_group(required=True)
    side.add_argument("--mine", action="store_true", help="keep the current file")
    side.add_argument("--image", action="store_true", help="take the file of the image")
    reset = verbs.add_parser("reset", help="restore a path from the tree")
    reset.add_argument("path", metavar="PATH", help="file or directory in /etc")
    complete_staged = verbs.add_parser(
        "complete", help="carry over changes made since staging (early boot runs this)"
    )
    for each in (parser, diff, resolve, reset, complete_staged):
        add_machine_arguments(each)
        each.add_argument(
            "--deployment",
            type=int,
            metavar="N",
            default=SUPPRESS,
            help="deployment to use (default: the booted one)",
        )
