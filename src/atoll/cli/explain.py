"""``atoll explain``: what a recipe key does and where it is set; what a lint or an error means."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "key",
        nargs="?",
        metavar="KEY",
        help="a key or table of a recipe, a lint, the name of an error, or an exit"
        " code; without it, all tables are listed",
    )
    parser.add_argument(
        "recipe",
        nargs="?",
        metavar="RECIPE",
        help="show where this recipe sets the key (default: the recipe here, if any)",
    )
    parser.add_argument("--variant", metavar="NAME", help="variant of the recipe")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "--markdown",
        action="store_true",
        help="print the reference of the recipe language as Markdown",
    )
    parser.add_argument(
        "--json-schema", action="store_true", help="print a JSON Schema for editors"
    )
    parser.add_argument(
        "--answers",
        action="store_true",
        help="describe the answers file of atoll install instead of the recipe",
    )
