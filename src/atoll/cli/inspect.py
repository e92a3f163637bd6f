"""``atoll inspect REF``: name, version and sizes of an image, and its recipe, lock and packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.cli.arguments import TREE_HELP, add_store_arguments

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", metavar="REF", help=TREE_HELP)
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--packages", action="store_true", help="print its packages, one per line")
    one.add_argument("--recipe", action="store_true", help="print the recipe it was built from")
    one.add_argument("--lock", action="store_true", help="print the lock it was built from")
    add_store_arguments(parser)
