"""``atoll build``: build a recipe into a tree in the store, and on request write an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recipe", nargs="?", default=".", help="recipe file, or the directory that contains it"
    )
    parser.add_argument("--variant", metavar="NAME", help="variant of the recipe")
    parser.add_argument(
        "--from-machine",
        action="store_true",
        help="RECIPE is a machine file, with its lock beside it: build what that machine has",
    )
    parser.add_argument("--store", metavar="DIR", help="store to use")
    parser.add_argument("--output", metavar="oci:DIR[:TAG]", help="also write the image there")
    locked = "fail without a lock, or if the tree differs from the locked one"
    parser.add_argument("--locked", action="store_true", help=locked)
    parser.add_argument("--offline", action="store_true", help="do not use the network")
    parser.add_argument(
        "--verify", action="store_true", help="build again under different conditions and compare"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
