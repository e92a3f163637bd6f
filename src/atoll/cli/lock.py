"""``atoll lock``: create, extend, update or audit the lock of a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recipe", nargs="?", default=".", help="recipe file, or the directory that contains it"
    )
    parser.add_argument(
        "--update",
        nargs="*",
        metavar="PACKAGE",
        help="update all packages, or only these, to the newest version",
    )
    parser.add_argument(
        "--audit", action="store_true", help="only list packages that are out of date"
    )
    parser.add_argument(
        "--long", action="store_true", help="print every package that was added, removed or changed"
    )
    parser.add_argument("--variant", metavar="NAME", help="variant of the recipe")
    parser.add_argument("--store", metavar="DIR", help="store whose cache is used")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
