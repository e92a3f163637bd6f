"""``atoll confirm``: what it does; ``cli/confirm.py`` has its arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, Busy
from atoll.base.text import one_line
from atoll.cli.output.live import live_lines
from atoll.host.run import run as run_program
from atoll.image.paths import ATOLL
from atoll.machine.confirm import confirm, go_back
from atoll.machine.confirm_live import confirm_live, find_unconfirmed_live, go_back_live
from atoll.machine.deployments.sysroot import find_installed
from atoll.machine.health.checks import read_health

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
    from atoll.machine.deployments.confirmation import Confirmation
    from atoll.machine.deployments.sysroot import Sysroot


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    sysroot = find_installed(None)
    if arguments.expired:
        return _go_back(sysroot, reporter)
    if sysroot.applied is not None:
        title = confirm_live(sysroot)
    else:
        title = confirm(sysroot, read_health(), reporter)
    if arguments.json:
        print(json.dumps({"confirmed": title}))
    reporter.notice(one_line(f"{title} is confirmed: it stays"))
    return 0


def _go_back(sysroot: Sysroot, reporter: Reporter) -> int:
    unconfirmed = find_unconfirmed_live(sysroot)
    if unconfirmed is not None:
        return _go_back_live(sysroot, unconfirmed, reporter)
    found = go_back(sysroot, reporter)
    target = "what boots next" if found is None else found.target.deployment.title
    _announce(f"nobody confirmed this version in time: the machine goes back to {target}", reporter)
    run_program(["systemctl", "--no-block", "reboot"])
    return 0


def _go_back_live(sysroot: Sysroot, unconfirmed: Confirmation, reporter: Reporter) -> int:
    """What boots next is the deployment before, so a reboot goes back where nothing else does."""
    _announce("nobody confirmed the live change in time: the machine goes back", reporter)
    try:
        result = go_back_live(sysroot, unconfirmed, reporter)
    except Busy:
        raise  # systemd tries again
    except AtollError as error:
        _announce(f"the live change could not be taken back: {error}; rebooting", reporter)
        run_program(["systemctl", "--no-block", "reboot"])
        return 0
    for line in live_lines(result):
        reporter.notice(line)
    # It says at each login what happened.
    run_program(["systemctl", "--no-block", "restart", "atoll-report.service"])
    return 0


def _announce(text: str, reporter: Reporter) -> None:
    message = one_line(text)
    reporter.notice(message)
    run_program([f"/{ATOLL}/print-to-consoles", message])
