"""``atoll add PKG…``: add packages to this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.cli.arguments import add_change_arguments

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_package_argument(parser)
    parser.add_argument(
        "--system", action="store_true", help="for the machine, which is the default for root"
    )
    add_change_arguments(parser)


def add_package_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "packages",
        nargs="+",
        metavar="PKG",
        help="a package as apt takes it: NAME, NAME=VERSION, NAME/SUITE or ./FILE.deb",
    )
