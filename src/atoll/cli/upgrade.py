"""``atoll upgrade``: upgrade to the newest version of the image that the machine follows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from atoll.cli.arguments import add_confirm_argument

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_upgrade_arguments(parser)


def add_upgrade_arguments(parser: argparse.ArgumentParser) -> None:
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--check", action="store_true", help="only check for a new version")
    only.add_argument("--download-only", action="store_true", help="only fetch the new version")
    only.add_argument(
        "--live", action="store_true", help="make it the running system now, without a reboot"
    )
    only.add_argument(
        "--soft-reboot",
        action="store_true",
        help="start it now, with the kernel that runs: everything else is stopped",
    )
    parser.add_argument(
        "--even-held", action="store_true", help="accept a version that is held on this machine"
    )
    add_confirm_argument(parser)
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="use the machine in this directory"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
