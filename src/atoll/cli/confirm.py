"""``atoll confirm``: keep the running deployment, which would go back by itself otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--expired", action="store_true", help="go back, and reboot (run when the time is over)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
