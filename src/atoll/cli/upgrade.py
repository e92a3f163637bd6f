"""``atoll upgrade``: take the newest version of the image that this machine follows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.text import one_line
from atoll.cli.arguments import format_option
from atoll.cli.output.upgrade import candidate_as_json, conflict_lines, staged_as_json
from atoll.machine.deployments.sysroot import find_sysroot
from atoll.machine.etc.merge import Merge
from atoll.machine.upgrade import UpgradeRequest, check_upgrade, upgrade

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_upgrade_arguments(parser)


def add_upgrade_arguments(parser: argparse.ArgumentParser) -> None:
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--check", action="store_true", help="only check for a new version")
    only.add_argument("--download-only", action="store_true", help="only fetch the new version")
    parser.add_argument(
        "--even-held", action="store_true", help="accept a version that is held on this machine"
    )
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="use the machine in this directory"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    request = UpgradeRequest(
        verb="upgrade", even_held=arguments.even_held, download_only=arguments.download_only
    )
    return run_upgrade(arguments, request, reporter)


def run_upgrade(arguments: argparse.Namespace, request: UpgradeRequest, reporter: Reporter) -> int:
    sysroot = find_sysroot(arguments.root)
    if arguments.check:
        candidate = check_upgrade(sysroot, request)
        if arguments.json:
            print(json.dumps(candidate_as_json(candidate), indent=2))
        else:
            print(one_line(f"{candidate.title} is available: {candidate.origin.image}"))
        root = format_option("--root", arguments.root)
        image = f" {request.image}" if request.image else ""
        reporter.notice(f"next: atoll {request.verb}{image}{root}")
        return 0
    staged = upgrade(sysroot, request, reporter)
    if arguments.json:
        print(json.dumps(staged_as_json(staged), indent=2))
    if staged.warning:
        reporter.notice(f"{staged.warning}\n  next: atoll gc")
    if staged.deployment is None:
        reporter.notice(
            f"{staged.candidate.title} is downloaded; next: atoll {request.verb}"
            + (f" {request.image}" if request.image else "")
            + format_option("--root", arguments.root)
        )
        return 0
    print_staged(staged.deployment.title, staged.merge, arguments, reporter)
    return 0


def print_staged(
    title: str, merge: object, arguments: argparse.Namespace, reporter: Reporter
) -> None:
    """What to do next when a deployment waits for its first boot."""
    if isinstance(merge, Merge) and merge.conflicts:
        for line in conflict_lines(merge):
            reporter.notice(line)
        reporter.notice("your files are kept until you resolve the conflicts: atoll etc")
    if arguments.root is None:
        reporter.notice(f"{title} boots next: systemctl reboot (or undo with: atoll cancel)")
    else:
        reporter.notice(
            f"{title} boots next; see: atoll status{format_option('--root', arguments.root)}"
        )
