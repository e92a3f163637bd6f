"""``atoll report``: what it does; ``cli/report.py`` has its arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from atoll.cli.report_text import format_markdown, report_as_json
from atoll.machine.deployments.sysroot import find_sysroot
from atoll.machine.drift.read_drift import NEEDS_ROOT
from atoll.machine.etc.etc_commands import choose_shown
from atoll.machine.report.read_report import read_machine_report

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    sysroot = find_sysroot(getattr(arguments, "root", None))
    number = choose_shown(sysroot, arguments.deployment)
    with reporter.step("Reading the machine"):
        report = read_machine_report(sysroot, number)
    if getattr(arguments, "json", False):
        print(json.dumps(report_as_json(report, names=arguments.with_names), indent=2))
    else:
        print(format_markdown(report, names=arguments.with_names))
    if any(each.why == NEEDS_ROOT for each in report.unread):
        reporter.notice("not everything could be read; for all of it: sudo atoll report")
    if not arguments.with_names:
        reporter.notice("names, addresses and serial numbers were taken out; read it all the same")
    return 0
