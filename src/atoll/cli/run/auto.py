"""``atoll auto``: what it does; ``cli/auto.py`` has its arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from atoll.base.errors import NothingToDo
from atoll.base.text import one_line
from atoll.cli.output.auto import auto_status_as_json, format_auto_status, reason_as_json
from atoll.host.fs import require_root
from atoll.machine.auto.policy import read_update_policy
from atoll.machine.auto.schedule import apply_schedule
from atoll.machine.auto.status import read_auto_status
from atoll.machine.deployments.public_status import may_read_machine, read_public_status
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import find_installed

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
    from atoll.machine.auto.run import AutoResult
    from atoll.machine.deployments.sysroot import Sysroot


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    sysroot = find_installed(None)
    as_json = getattr(arguments, "json", False)
    if arguments.what in (None, "status"):
        return _show_status(sysroot, reporter, as_json=as_json)
    require_root("updating the machine")
    if arguments.what == "schedule":
        return _schedule(reporter, as_json=as_json)
    # It imports what builds trees; the other sub-verbs run in each boot, and as often as one looks.
    from atoll.machine.auto.run import run_auto, run_reboot

    act = run_reboot if arguments.what == "reboot" else run_auto
    return _report(act(sysroot, reporter), reporter, as_json=as_json)


def _show_status(sysroot: Sysroot, reporter: Reporter, *, as_json: bool) -> int:
    readable = may_read_machine(sysroot)
    state = read_state(sysroot) if readable else read_public_status().state
    status = read_auto_status(sysroot, state)
    if as_json:
        print(json.dumps(auto_status_as_json(status), indent=2))
        return 0
    print(format_auto_status(status))
    if status.policy.update.auto == "none":
        reporter.notice('to turn them on: [update] auto = "stage" in /etc/atoll/machine.toml')
    return 0


def _schedule(reporter: Reporter, *, as_json: bool) -> int:
    changed = apply_schedule(read_update_policy())
    if as_json:
        print(json.dumps({"changed": changed}))
    if not changed:
        raise NothingToDo("the timers are already as the policy says")
    reporter.notice("the timers are as the policy says; see: atoll auto")
    return 0


def _report(result: AutoResult, reporter: Reporter, *, as_json: bool) -> int:
    if as_json:
        document = {
            "outcome": result.outcome.value,
            "text": result.text,
            "reasons": [reason_as_json(each) for each in result.reasons],
        }
        print(json.dumps(document, indent=2))
    if result.outcome.did_nothing:
        raise NothingToDo(one_line(result.text))
    reporter.notice(one_line(result.text))
    return 0
