"""``atoll drift``: what it does; ``cli/drift.py`` has its arguments."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, NothingToDo, Unchecked
from atoll.cli.output.drift import format_drift
from atoll.cli.output.drift_json import drift_as_json
from atoll.host.fs import require_root
from atoll.machine.deployments.sysroot import find_sysroot
from atoll.machine.drift.damaged_files import find_damaged
from atoll.machine.drift.read_drift import read_drift
from atoll.machine.etc.etc_commands import choose_deployment

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.drift.model import Drift


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    sysroot = find_sysroot(getattr(arguments, "root", None))
    number = arguments.deployment
    if number is None and sysroot.booted is not None:
        number = sysroot.booted
    else:
        number = choose_deployment(sysroot, number)
    if arguments.verify and sysroot.is_running:
        require_root("verifying files")
    drift = read_drift(sysroot, number)
    if arguments.verify:
        drift = replace(drift, damaged=find_damaged(sysroot, number, reporter))
    if getattr(arguments, "json", False):
        print(json.dumps(drift_as_json(drift), indent=2))
    else:
        print(format_drift(drift))
    return _conclude(drift, sysroot, reporter)


def _conclude(drift: Drift, sysroot: Sysroot, reporter: Reporter) -> int:
    """The exit code, with what to do next."""
    if drift.damaged:
        raise Damaged(
            f"files of the image are damaged: {len(drift.damaged)}",
            hint=f"to fetch the image again: {sysroot.command('upgrade')}",
        )
    if drift.is_empty and drift.unread:
        raise Unchecked(
            "nothing differs, but not everything could be read",
            hint="for all of it: sudo atoll drift" if sysroot.is_running else None,
        )
    if drift.is_empty:
        return NothingToDo.exit_code
    if drift.etc:
        reset = sysroot.command("etc reset PATH")
        reporter.notice(f"to restore a file in /etc: {reset}")
    return 0
