"""``atoll live``: what it does; ``cli/live.py`` has its arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from atoll.cli.output.live import live_as_json, live_lines
from atoll.image.policy import find_policy
from atoll.machine.deployments.state import read_deployment
from atoll.machine.deployments.sysroot import find_installed
from atoll.machine.live.live import finish_change
from atoll.machine.machine_file import read_machine_file
from atoll.store.layout import open_store

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.etc_tree import Node
    from atoll.tree.etc_rules import Rules


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    result = finish_change(find_installed(None), _read_rules, reporter)
    if arguments.json:
        print(json.dumps(live_as_json(result), indent=2))
    for line in live_lines(result):
        reporter.notice(line)
    return 0


def _read_rules(machine: Sysroot, etc: Node) -> Rules:
    assert machine.running is not None, "find_installed found the running machine"
    tree = read_deployment(machine, machine.running).tree
    return read_machine_file(etc, find_policy(open_store(machine.atoll), tree)).rules
