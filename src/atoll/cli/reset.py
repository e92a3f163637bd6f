"""``atoll reset``: the machine as it was first installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.cli.arguments import add_machine_arguments

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_machine_arguments(parser)
    parser.add_argument("--keep-home", action="store_true", help="keep /home and /root")
    parser.add_argument(
        "--dry-run", action="store_true", help="only show what would be removed, and what stays"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
