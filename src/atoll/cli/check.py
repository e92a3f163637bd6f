"""``atoll check``: list errors in a recipe, and what would fail later."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recipe", nargs="?", default=".", help="recipe file, or the directory that contains it"
    )
    parser.add_argument("--variant", metavar="NAME", help="check only this variant (default: all)")
    parser.add_argument("--offline", action="store_true", help="do not use the network")
    parser.add_argument("--strict", action="store_true", help="treat warnings as errors")
    parser.add_argument(
        "--skip", metavar="LINT", action="append", default=[], help="skip this lint"
    )
    parser.add_argument("--store", metavar="DIR", type=Path, help="store whose cache is used")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
