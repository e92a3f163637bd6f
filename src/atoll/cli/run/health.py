"""``atoll health``: what it does; ``cli/health.py`` has its arguments.

Each boot runs ``health run`` and ``health bless``. So what only a few boots need, a rollback or the
end of a reset, is imported where it is used: it brings half of Atoll along.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, Unhealthy
from atoll.base.text import one_line
from atoll.cli.output.progress import format_amount
from atoll.machine.deployments.boot_history import record_boot
from atoll.machine.deployments.confirmation import find_unconfirmed, format_duration
from atoll.machine.deployments.own_var import has_own_var
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import find_installed, find_sysroot
from atoll.machine.etc.etc_commands import choose_deployment
from atoll.machine.grow import grow
from atoll.machine.health import boot_failure_report
from atoll.machine.health.bless import bless
from atoll.machine.health.checks import end_trial, run_checks, write_health
from atoll.machine.health.pstore import read_panics
from atoll.machine.health.report import read_report

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from atoll.base.report import Reporter
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.health.report import HealthReport


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    as_json = getattr(arguments, "json", False)
    root = getattr(arguments, "root", None)
    if arguments.what == "run":
        return _run_checks(reporter, as_json=as_json)
    if arguments.what == "bless":
        return _bless(root, arguments.deployment, reporter)
    if arguments.what == "report":
        return _report(reporter)
    if arguments.what == "grow":
        return _grow(reporter, as_json=as_json)

    report = read_report(find_sysroot(root))
    print(json.dumps(as_document(report), indent=2) if as_json else format_report(report))
    return 0


def _run_checks(reporter: Reporter, *, as_json: bool) -> int:
    sysroot = find_sysroot(None)
    health = run_checks(reporter, when=int(time.time()))
    write_health(health)
    # After the checks: recording makes the state partition writable in this process.
    _record_boot(sysroot, reporter)
    if as_json:
        print(json.dumps([_check_as_json(check) for check in health.checks], indent=2))
    if not health.healthy:
        raise Unhealthy(health.why, hint="see: systemctl --failed")
    return 0


def _record_boot(sysroot: Sysroot, reporter: Reporter) -> None:
    """Record the boot for ``rollback yesterday``. A failure to record does not fail the boot."""
    try:
        record_boot(sysroot)
    except (AtollError, OSError) as error:
        reporter.notice(f"this boot could not be recorded in the history: {error}")


def _bless(root: Path | None, number: int | None, reporter: Reporter) -> int:
    sysroot = find_installed(root)
    unconfirmed = find_unconfirmed(sysroot) if number is None else None
    if unconfirmed is not None:
        from atoll.machine.confirm import begin_waiting

        waiting = begin_waiting(sysroot, unconfirmed)
        left = format_duration(waiting.left)
        reporter.notice(
            f"{waiting.title} must be confirmed within {left}: atoll confirm\n"
            f"  otherwise the machine goes back to {waiting.back}"
        )
        return 0
    chosen = choose_deployment(sysroot, number)
    bless(sysroot, chosen, reporter)
    if sysroot.booted is not None and number in (None, sysroot.booted):
        end_trial()
    if has_own_var(sysroot, chosen):
        from atoll.machine.reset import finish_reset

        finish_reset(sysroot, reporter)
        reporter.notice("the reset is complete: what was there before is removed")
    return 0


def _grow(reporter: Reporter, *, as_json: bool) -> int:
    grown = grow(find_sysroot(None))
    if as_json:
        print(json.dumps({"grown": grown}))
    reporter.notice(f"the state partition grew by {format_amount(grown, 'B')}")
    return 0


def _report(reporter: Reporter) -> int:
    from atoll.machine.confirm import format_expired

    sysroot = find_sysroot(None)
    machine = read_state(sysroot)
    panics = tuple(read_panics())
    failed = boot_failure_report.decide_failed(sysroot, machine, panics)
    message = boot_failure_report.format_login_message(
        machine,
        failed,
        (*boot_failure_report.read_notes(), format_expired(sysroot, machine)),
        running=boot_failure_report.explain_running(sysroot, machine, panics),
    )
    boot_failure_report.write_login_message(message)
    for line in message.splitlines():
        reporter.notice(line)
    plan = boot_failure_report.plan_report(sysroot, machine, failed, now=int(time.time()))
    boot_failure_report.apply_report(sysroot, plan)
    return 0


def _check_as_json(check: object) -> dict[str, object]:
    return {name: getattr(check, name) for name in ("name", "passed", "detail")}


def as_document(report: HealthReport) -> dict[str, object]:
    return {
        "healthy": report.health.healthy if report.health else None,
        "checks": [_check_as_json(check) for check in report.health.checks]
        if report.health
        else [],
        "watchdog": report.watchdog,
        "tries": [
            {
                "deployment": deployment,
                "number": each.number,
                "started": each.started,
                "failure": each.failure,
            }
            for deployment, attempts in report.attempts
            for each in attempts
        ],
        "given_up": [
            {
                "deployment": deployment,
                "evidence": verdict.evidence,
                "why": verdict.why,
            }
            for deployment, verdict in report.verdicts
        ],
        "held": [
            {
                "tree": tree,
                "deployment": hold.deployment,
                "version": hold.version,
                "why": hold.why,
                "when": hold.when,
            }
            for tree, hold in report.held
        ],
    }


def format_report(report: HealthReport) -> str:
    lines = []
    if report.booted is not None:
        lines += _format_boot(report)
    for deployment, attempts in report.attempts:
        for each in attempts:
            what = f"failed: {each.failure}" if each.failure else "started"
            lines.append(f"try {each.number} of deployment {deployment}   {what}")
    for deployment, verdict in report.verdicts:
        word = "given up" if verdict.evidence else "unproven"
        lines.append(f"{word}    deployment {deployment}: {verdict.why}")
    for tree, hold in report.held:
        lines.append(f"held        {hold.version} ({hold.deployment}): {hold.why}")
        lines.append(f"            tree {tree}")
    return "\n".join(one_line(line) for line in lines) or "no failed boots, no held deployments"


def _format_boot(report: HealthReport) -> list[str]:
    if report.health is None:
        lines = ["this boot   not checked yet"]
    else:
        lines = [f"this boot   {'healthy' if report.health.healthy else 'not healthy'}"]
        for check in report.health.checks:
            detail = f": {check.detail}" if check.detail else ""
            lines.append(f"  {'passed' if check.passed else 'failed'}    {check.name}{detail}")
    none = "none: a machine that hangs must be reset by hand"
    return [*lines, f"watchdog    {report.watchdog or none}"]
