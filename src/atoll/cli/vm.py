"""``atoll vm``: run an image in a virtual machine, with its console on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from atoll.cli.arguments import add_vm_arguments

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "image",
        metavar="REF|RECIPE|DISK",
        nargs="?",
        default=".",
        help="an image, a recipe that has been built (default: the recipe here), or a raw disk"
        " image such as atoll disk makes, which is not changed",
    )
    add_vm_arguments(parser)
    parser.add_argument(
        "--report",
        metavar="FILE",
        type=Path,
        help="run the system that a report (atoll report) is about",
    )
    parser.add_argument(
        "--live", action="store_true", help="run it as a live system on a USB stick"
    )
    parser.add_argument(
        "--ssh-port",
        metavar="N",
        type=int,
        help="forward this local port to port 22 of the machine",
    )
    parser.add_argument(
        "--display",
        choices=("gtk", "none", "sdl", "vnc"),
        default="none",
        help="also show a screen (default: none)",
    )
