"""``atoll cancel``: what it does; ``cli/cancel.py`` has its arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from atoll.cli.arguments import format_option
from atoll.machine.cancel import cancel
from atoll.machine.deployments.announcement import drop_announcement
from atoll.machine.deployments.sysroot import find_installed

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    root = format_option("--root", arguments.root)
    sysroot = find_installed(arguments.root)
    done = cancel(sysroot, reporter)
    if sysroot.is_running:
        drop_announcement()
    if arguments.json:
        print(json.dumps({"dropped": list(done.dropped), "warning": done.warning}, indent=2))
    reporter.notice(f"discarded: {', '.join(done.dropped)}; next: atoll status{root}")
    if done.warning:
        reporter.notice(f"warning: {done.warning}\n  next: atoll gc{root}")
    return 0
