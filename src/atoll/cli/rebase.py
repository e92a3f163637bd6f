"""``atoll rebase REF``: switch a machine to another image, which it follows from then on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.cli.arguments import IMAGE_HELP
from atoll.cli.upgrade import add_upgrade_arguments

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "image",
        metavar="REF",
        help=IMAGE_HELP,
    )
    add_upgrade_arguments(parser)
