"""``atoll upgrade``: what it does; ``cli/upgrade.py`` has its arguments."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, NothingToDo, Refused
from atoll.base.text import one_line
from atoll.cli.confirm_time import read_confirm_time
from atoll.cli.output.live import live_as_json, live_lines
from atoll.cli.output.upgrade import candidate_as_json, conflict_lines, staged_as_json
from atoll.layering.upgrade_machine import upgrade_machine
from atoll.machine.confirm_live import go_live_unconfirmed
from atoll.machine.deployments.confirmation import format_duration
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import find_installed
from atoll.machine.live.live import check_live, go_live, require_ready
from atoll.machine.soft_reboot import check_soft_reboot, soft_reboot
from atoll.machine.upgrade import UpgradeRequest, check_upgrade

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
    from atoll.machine.deployment import Deployment
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.merge import Merge
    from atoll.machine.upgrade import UpgradeResult


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    request = UpgradeRequest(
        verb="upgrade",
        even_held=arguments.even_held,
        download_only=arguments.download_only,
        confirm=read_confirm_time(arguments),
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
    if arguments.live or arguments.soft_reboot:
        return _upgrade_now(arguments, sysroot, request, reporter)
    staged = upgrade_machine(sysroot, request, reporter)
    if arguments.json:
        print(json.dumps(staged_as_json(staged), indent=2))
    _print_warning(staged, sysroot, reporter)
    if staged.deployment is None:
        command = sysroot.command(request.words)
        reporter.notice(f"{staged.candidate.title} is downloaded; next: {command}")
        return 0
    print_staged(staged.deployment, staged.merge, sysroot, reporter)
    print_confirm(request.confirm, reporter)
    return 0


def print_confirm(seconds: int | None, reporter: Reporter) -> None:
    """What must be done after the reboot, if anything."""
    if seconds is not None:
        reporter.notice(
            f"after the reboot, run atoll confirm within {format_duration(seconds)};"
            " otherwise the machine goes back by itself"
        )


def _print_warning(staged: UpgradeResult, sysroot: Sysroot, reporter: Reporter) -> None:
    if staged.warning:
        reporter.notice(f"{staged.warning}\n  next: {sysroot.command('gc')}")


def _upgrade_now(
    arguments: argparse.Namespace, sysroot: Sysroot, request: UpgradeRequest, reporter: Reporter
) -> int:
    """Stage the image, or take what is staged already, and make it the running system."""
    require_ready(sysroot)
    document: dict[str, object] = {}
    try:
        staged = upgrade_machine(sysroot, request, reporter)
        deployment = staged.deployment
        document = staged_as_json(staged)
        _print_warning(staged, sysroot, reporter)
        print_conflicts(deployment, staged.merge, sysroot, reporter)
    except NothingToDo:
        deployment = find_staged(sysroot)
        if deployment is None:
            raise
    assert deployment is not None, "these options exclude each other"
    shown = document if arguments.json else None
    if arguments.soft_reboot:
        _run_soft_reboot(sysroot, deployment, shown, request.confirm, reporter)
    else:
        run_live(sysroot, deployment, shown, reporter, confirm=request.confirm)
    return 0


def _run_soft_reboot(
    sysroot: Sysroot,
    deployment: Deployment,
    document: dict[str, object] | None,
    confirm: int | None,
    reporter: Reporter,
) -> None:
    """systemd ends this session soon after."""
    try:
        soft_reboot(sysroot, deployment.number, reporter)
    except Refused as error:
        error.message = f"{deployment.title} boots next; {error.message}"
        raise
    if document is not None:
        document |= {"deployment": deployment.number, "reboot": False, "soft_reboot": True}
        print(json.dumps(document, indent=2), flush=True)
    reporter.notice(f"{deployment.title} starts now, with the kernel that runs")
    print_confirm(confirm, reporter)


def find_staged(sysroot: Sysroot) -> Deployment | None:
    """What boots next, unless it runs."""
    default = read_state(sysroot).default
    return None if default is None or default.number == sysroot.running else default.deployment


def run_live(
    sysroot: Sysroot,
    deployment: Deployment,
    document: dict[str, object] | None,
    reporter: Reporter,
    *,
    confirm: int | None = None,
) -> None:
    """Make a staged deployment the running system; ``document`` is printed with what was done, as
    JSON. With ``confirm`` it must be confirmed within so many seconds. Raises Refused when it needs
    a reboot."""
    number = deployment.number
    try:
        if confirm is None:
            result = go_live(sysroot, number, reporter)
        else:
            result = go_live_unconfirmed(sysroot, number, confirm, reporter)
    except Refused as error:
        error.message = f"{deployment.title} boots next; {error.message}"
        raise
    if document is not None:
        document |= {"deployment": number, "reboot": False}
        print(json.dumps({**document, "live": live_as_json(result)}, indent=2))
    for line in live_lines(result):
        reporter.notice(line)
    if confirm is None:
        reporter.notice(f"{deployment.title} runs now, and boots next (undo with: atoll cancel)")
        return
    reporter.notice(
        f"{deployment.title} runs now. To keep it, run atoll confirm within"
        f" {format_duration(confirm)}; otherwise, and at a reboot, the machine goes back by itself"
    )


def print_staged(
    deployment: Deployment,
    merge: Merge | None,
    sysroot: Sysroot,
    reporter: Reporter,
    *,
    live: str = "upgrade --live",
) -> None:
    """Print conflicts, and the next step, after a deployment was staged. ``live`` are the words
    that make it the running one."""
    title = deployment.title
    print_conflicts(deployment, merge, sysroot, reporter)
    if sysroot.booted is not None:
        now = "".join(f" or atoll {words}" for words in _find_quicker(sysroot, deployment, live))
        undo = sysroot.command("cancel")
        reporter.notice(f"{title} boots next: systemctl reboot{now} (or undo with: {undo})")
    else:
        reporter.notice(f"{title} boots next; see: {sysroot.command('status')}")


def _find_quicker(sysroot: Sysroot, deployment: Deployment, live: str) -> tuple[str, ...]:
    """The words that start it without a full reboot, if any can. Only a hint: what cannot be read
    gives none."""
    with suppress(AtollError, OSError):
        if not sysroot.is_running:
            return ()
        if not check_live(sysroot, deployment.number):
            return (live,)
        if not check_soft_reboot(sysroot, deployment.number):
            return ("upgrade --soft-reboot",)
    return ()


def print_conflicts(
    deployment: Deployment | None, merge: Merge | None, sysroot: Sysroot, reporter: Reporter
) -> None:
    if deployment is None or merge is None or not merge.conflicts:
        return
    for line in conflict_lines(merge):
        reporter.notice(line)
    etc = sysroot.command(f"etc --deployment {deployment.number}")
    reporter.notice(f"your files are kept until you resolve the conflicts: {etc}")
