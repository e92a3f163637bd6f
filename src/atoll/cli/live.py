"""``atoll live``: carry out, or continue, a live change; ``atoll-live.service`` runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", choices=("finish",), help="carry out the change that a verb has asked for"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
