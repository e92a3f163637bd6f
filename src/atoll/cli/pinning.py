"""What ``atoll pin`` and ``atoll unpin`` have in common."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


def add_pin_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "number", type=int, metavar="N", help="number of the deployment, as shown by atoll status"
    )
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="use the machine in this directory"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run_pin(arguments: argparse.Namespace, reporter: Reporter, *, pinned: bool) -> int:
    from atoll.machine.deployments.sysroot import find_sysroot
    from atoll.machine.pin import set_pin

    title = set_pin(find_sysroot(arguments.root), arguments.number, pinned=pinned)
    if arguments.json:
        print(json.dumps({"deployment": arguments.number, "pinned": pinned}))
    stays = "is pinned" if pinned else "is no longer pinned"
    reporter.notice(f"{title} {stays}; see: atoll status")
    return 0
