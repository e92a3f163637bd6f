"""``atoll confirm``: what it does; ``cli/confirm.py`` has its arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from atoll.base.text import one_line
from atoll.host.run import run as run_program
from atoll.image.paths import ATOLL
from atoll.machine.confirm import confirm, go_back
from atoll.machine.deployments.sysroot import find_installed
from atoll.machine.health.checks import read_health

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
    from atoll.machine.deployments.sysroot import Sysroot


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    sysroot = find_installed(None)
    if arguments.expired:
        return _go_back(sysroot, reporter)
    title = confirm(sysroot, read_health(), reporter)
    if arguments.json:
        print(json.dumps({"confirmed": title}))
    reporter.notice(one_line(f"{title} is confirmed: it stays"))
    return 0


def _go_back(sysroot: Sysroot, reporter: Reporter) -> int:
    found = go_back(sysroot, reporter)
    target = "what boots next" if found is None else found.target.deployment.title
    message = one_line(f"nobody confirmed this version in time: the machine goes back to {target}")
    reporter.notice(message)
    run_program([f"/{ATOLL}/print-to-consoles", message])
    run_program(["systemctl", "--no-block", "reboot"])
    return 0
