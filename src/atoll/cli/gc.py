"""``atoll gc``: remove deployments that policy does not keep, and objects that nothing uses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import UsageError
from atoll.cli.output.upgrade import cleanup_as_json, format_cleanup
from atoll.machine.deployments.sysroot import find_installed
from atoll.machine.gc import collect_garbage

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


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


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    if arguments.keep is not None and arguments.keep < 1:
        raise UsageError("--keep must be at least 1", hint="the booted deployment is always kept")
    sysroot = find_installed(arguments.root)
    result = collect_garbage(
        sysroot, arguments.keep, reporter, dry=arguments.dry_run, damaged=arguments.damaged
    )
    if arguments.json:
        print(json.dumps(cleanup_as_json(result), indent=2))
    else:
        print(format_cleanup(result, dry=arguments.dry_run))
    if result.warning:
        reporter.notice(f"warning: {result.warning}")
    return 0
