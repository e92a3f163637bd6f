"""``atoll diff A B``: what changed between two systems; neither needs to be downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.cli.arguments import TREE_HELP, add_store_arguments

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = f"{TREE_HELP}; a recipe (a folder or FILE.toml), or a lock (FILE.lock)"
    parser.add_argument("before", metavar="A", help=what)
    parser.add_argument(
        "after", metavar="B", help="the system to compare it with, named in the same way"
    )
    parser.add_argument(
        "--variant",
        metavar="NAME",
        action="append",
        default=[],
        help="variant of both recipes; give it twice for A and B separately",
    )
    parser.add_argument("--files", action="store_true", help="list every changed file")
    add_store_arguments(parser)
