"""``atoll sbom REF``: write the bill of materials of an image, as SPDX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from atoll.cli.arguments import TREE_HELP, add_store_arguments

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", metavar="REF", help=TREE_HELP)
    parser.add_argument(
        "--output", metavar="FILE", type=Path, help="write to this file (default: stdout)"
    )
    add_store_arguments(parser, json=False)
