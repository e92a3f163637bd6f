"""``atoll remove PKG…``: remove packages from this machine, also those of the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.cli.arguments import add_change_arguments

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("packages", nargs="+", metavar="PKG", help="the name of a package")
    parser.add_argument(
        "--system", action="store_true", help="for the machine, which is the default for root"
    )
    add_change_arguments(parser)
