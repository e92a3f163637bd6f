"""``atoll rollback``: what it does; ``cli/rollback.py`` has its arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from atoll.cli.output.upgrade import format_rollback, rollback_as_json
from atoll.machine.deployments.sysroot import find_installed
from atoll.machine.rollback import rollback

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    sysroot = find_installed(arguments.root)
    found = rollback(sysroot, arguments.which, reporter, keep_etc=arguments.keep_etc)
    print(
        json.dumps(rollback_as_json(found), indent=2) if arguments.json else format_rollback(found)
    )
    if found.warning:
        reporter.notice(f"warning: {found.warning}\n  next: {sysroot.command('gc')}")
    if not found.left_behind:
        reporter.notice("the current default stays the fallback: no other one is known to boot")
    undo = next((each.number for each in found.left_behind if each.blessed), None)
    if undo is None:
        hint = f"see: {sysroot.command('status')}"
    else:
        hint = f"undo with: {sysroot.command(f'rollback {undo}')}"
    reporter.notice(f"next: systemctl reboot ({hint})" if arguments.root is None else hint)
    return 0
