"""``atoll test``: boot an image in a virtual machine, and run its tests there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from atoll.cli.arguments import add_vm_arguments

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "image",
        metavar="RECIPE|REF",
        nargs="?",
        default=".",
        help="a recipe that has been built, or an image (default: the recipe here)",
    )
    add_vm_arguments(parser)
    parser.add_argument(
        "--script",
        metavar="FILE",
        action="append",
        type=Path,
        default=[],
        help="run this script instead of the recipe's tests/*.sh",
    )
    parser.add_argument(
        "--timeout", metavar="S", type=int, help="time limit in seconds (600; without KVM 1800)"
    )
    parser.add_argument("--network", action="store_true", help="let the machine use the network")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
