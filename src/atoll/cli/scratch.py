"""``atoll scratch``: make ``/usr`` writable for experiments, until the next boot."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--size",
        metavar="N",
        default="512M",
        help="memory that changes may take, such as 2G (default: 512M)",
    )
    what.add_argument("--discard", action="store_true", help="remove the overlay and all changes")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
