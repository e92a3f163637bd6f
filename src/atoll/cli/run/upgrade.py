"""``atoll upgrade``: what it does; ``cli/upgrade.py`` has its arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from atoll.base.text import one_line
from atoll.cli.output.upgrade import candidate_as_json, conflict_lines, staged_as_json
from atoll.layering.upgrade_machine import upgrade_machine
from atoll.machine.deployments.sysroot import find_installed
from atoll.machine.upgrade import UpgradeRequest, check_upgrade

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
    from atoll.machine.deployment import Deployment
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.merge import Merge


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    request = UpgradeRequest(
        verb="upgrade", even_held=arguments.even_held, download_only=arguments.download_only
    )
    return run_upgrade(arguments, request, reporter)


def run_upgrade(arguments: argparse.Namespace, request: UpgradeRequest, reporter: Reporter) -> int:
    sysroot = find_installed(arguments.root)
    if arguments.check:
        candidate = check_upgrade(sysroot, request)
        if arguments.json:
            print(json.dumps(candidate_as_json(candidate), indent=2))
        else:
            print(one_line(f"{candidate.title} is available: {candidate.origin.image}"))
        reporter.notice(f"next: {sysroot.command(request.words)}")
        return 0
    staged = upgrade_machine(sysroot, request, reporter)
    if arguments.json:
        print(json.dumps(staged_as_json(staged), indent=2))
    if staged.warning:
        reporter.notice(f"{staged.warning}\n  next: {sysroot.command('gc')}")
    if staged.deployment is None:
        command = sysroot.command(request.words)
        reporter.notice(f"{staged.candidate.title} is downloaded; next: {command}")
        return 0
    print_staged(staged.deployment, staged.merge, sysroot, reporter)
    return 0


def print_staged(
    deployment: Deployment, merge: Merge | None, sysroot: Sysroot, reporter: Reporter
) -> None:
    """Print conflicts, and the next step, after a deployment was staged."""
    title = deployment.title
    if merge is not None and merge.conflicts:
        for line in conflict_lines(merge):
            reporter.notice(line)
        etc = sysroot.command(f"etc --deployment {deployment.number}")
        reporter.notice(f"your files are kept until you resolve the conflicts: {etc}")
    if sysroot.booted is not None:
        undo = sysroot.command("cancel")
        reporter.notice(f"{title} boots next: systemctl reboot (or undo with: {undo})")
    else:
        reporter.notice(f"{title} boots next; see: {sysroot.command('status')}")
