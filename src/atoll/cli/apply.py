"""``atoll apply``: apply the machine file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.cli.arguments import add_change_arguments

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--undo",
        action="store_true",
        help="with --live: return to what was booted, as it was before live changes",
    )
    add_change_arguments(parser)
