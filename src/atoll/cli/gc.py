"""``atoll gc``: remove deployments that policy does not keep, and objects that nothing uses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep",
        type=int,
        metavar="N",
        help="number of deployments to keep (default: from machine.toml, else 3); the booted and"
        " the default deployment, its fallback and pinned ones are always kept",
    )
    parser.add_argument("--dry-run", action="store_true", help="only print what would be removed")
    parser.add_argument(
        "--damaged",
        action="store_true",
        help="also remove deployments with damaged metadata, and their settings",
    )
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="use the machine in this directory"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
