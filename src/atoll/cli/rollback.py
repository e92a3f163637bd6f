"""``atoll rollback``: make an older deployment boot next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "which",
        nargs="?",
        metavar="WHICH",
        help="a number, a version, yesterday or YYYY-MM-DD; number:N or version:V if ambiguous"
        " (default: the booted deployment if another boots next, else the previous one)",
    )
    parser.add_argument("--keep-etc", action="store_true", help="keep the current /etc")
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="use the machine in this directory"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
