"""``atoll status``: the deployments of a machine, which one runs and which one boots next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.machine.state import find_sysroot, read_state

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
    from atoll.machine.state import DeploymentState, MachineState

WIDTH = 80
_MARKS = ("booted", "default", "staged", "pinned", "held")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, metavar="DIR", help="a machine in a directory")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:  # noqa: ARG001
    state = read_state(find_sysroot(arguments.root))
    print(json.dumps(as_json(state), indent=2) if arguments.json else format_state(state))
    return 0


def as_json(state: MachineState) -> dict[str, object]:
    return {"deployments": [_deployment_as_json(found) for found in state.deployments]}


def _deployment_as_json(found: DeploymentState) -> dict[str, object]:
    deployment = found.deployment
    return {
        "number": deployment.number,
        "name": deployment.name,
        "version": deployment.version,
        "kernel": deployment.kernel,
        "tree": deployment.tree,
        "booted": found.booted,
        "default": found.default,
        "staged": found.staged,
        "pinned": found.pinned,
        "held": found.held,
    }


def format_state(state: MachineState) -> str:
    """What a person reads, at most 80 columns wide."""
    if not state.deployments:
        return "no deployments"
    lines = []
    for found in state.deployments:
        deployment = found.deployment
        marks = ", ".join(mark for mark in _MARKS if getattr(found, mark))
        head = f"{'*' if found.booted else ' '} {deployment.number:<3} {deployment.name} "
        head += f"{deployment.version}"
        lines.append(_cut(f"{head}   {marks}".rstrip()))
        lines.append(f"      tree   {deployment.tree}")
        lines.append(_cut(f"      kernel {deployment.kernel}"))
    return "\n".join(lines)


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"
