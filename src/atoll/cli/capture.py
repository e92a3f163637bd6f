"""``atoll capture -- CMD…``: run an installer, see what it did, and keep it or not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from atoll.cli.arguments import add_change_arguments

if TYPE_CHECKING:
    import argparse

KEEP = ("layer", "script", "nothing")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "command",
        nargs="*",
        metavar="CMD",
        help="the program and its arguments, after --; words that name local files are its inputs",
    )
    parser.add_argument("--name", help="name of what is kept (default: from the program)")
    parser.add_argument(
        "--network", action="store_true", help="let the program use this machine's network"
    )
    parser.add_argument(
        "--input",
        action="append",
        type=Path,
        default=[],
        metavar="PATH",
        help="further file or directory for the program, at /run/atoll/inputs",
    )
    parser.add_argument(
        "--keep",
        choices=KEEP,
        help="do not ask: keep the recorded result, a script that runs at each build, or nothing",
    )
    parser.add_argument("--remove", metavar="NAME", help="remove what was kept under this name")
    add_change_arguments(parser)
