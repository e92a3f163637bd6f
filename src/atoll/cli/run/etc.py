"""``atoll etc``: what it does; ``cli/etc.py`` has its arguments."""

from __future__ import annotations

import json
from shlex import quote
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.base.text import one_line
from atoll.cli.arguments import format_option
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.sysroot import find_sysroot
from atoll.machine.etc.etc_commands import (
    choose_deployment,
    complete_staged,
    parse_path,
    plan_reset,
    plan_resolve,
    read_machine_etc,
)
from atoll.machine.etc.stage import retry_if_changed

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from atoll.base.report import Reporter
    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.etc_commands import MachineEtc


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    sysroot = find_sysroot(getattr(arguments, "root", None))
    number = getattr(arguments, "deployment", None)
    deployment = choose_deployment(sysroot, number)
    chosen = format_option("--deployment", number)
    as_json = getattr(arguments, "json", False)
    if arguments.what in (None, "diff"):
        etc = read_machine_etc(sysroot, deployment)
        print(json.dumps(as_document(etc), indent=2) if as_json else format_etc(etc))
        if etc.conflicts:
            path = quote(one_line(etc.conflicts[0].path))
            command = sysroot.command(f"etc resolve {path} --mine{chosen}")
            reporter.notice(f"next: {command}, or with --image instead of --mine")
        _refuse_unread(etc)
        return 0
    if arguments.what == "complete":
        return _complete(sysroot, deployment, reporter, as_json=as_json)
    path = parse_path(arguments.path, etc_too=arguments.what == "resolve")
    if arguments.what == "reset":
        _change(sysroot, deployment, lambda etc: plan_reset(etc, path))
    else:
        image = bool(arguments.image)
        _refuse_unread(read_machine_etc(sysroot, deployment))
        _change(sysroot, deployment, lambda etc: plan_resolve(etc, path, image=image))
    left = len(read_machine_etc(sysroot, deployment).conflicts)
    if as_json:
        print(json.dumps({"deployment": deployment, "path": f"/etc/{path}", "conflicts": left}))
    again = sysroot.command(f"etc{chosen}")
    reporter.notice(f"next: {again} ({left} conflicts left)" if left else "no conflicts left")
    return 0


def _refuse_unread(etc: MachineEtc) -> None:
    """Raises Damaged when conflicts could not be read: there may be more than the ones shown."""
    if etc.unread:
        raise Damaged(
            f"there may be more conflicts: {etc.unread}",
            hint=f"compare the image's files in {etc.paths.conflicts}*/image with /etc,"
            " then remove that directory",
        )


def _complete(sysroot: Sysroot, deployment: int, reporter: Reporter, *, as_json: bool) -> int:
    paths = [_whole(path) for path in complete_staged(sysroot, deployment)]
    for path in paths:
        reporter.notice(f"changed since staging: {one_line(path)}")
    if as_json:
        print(json.dumps({"deployment": deployment, "changed": paths}))
    return 0


def _change(
    sysroot: Sysroot, deployment: int, plan: Callable[[MachineEtc], tuple[Operation, ...]]
) -> None:
    with locked_machine(sysroot, esp=False):
        retry_if_changed(lambda: apply_operations(plan(read_machine_etc(sysroot, deployment))))


def as_document(etc: MachineEtc) -> dict[str, object]:
    return {
        "deployment": etc.deployment,
        "changes": [{"path": _whole(path), "change": change.value} for path, change in etc.changes],
        "conflicts": [
            {
                "path": _whole(each.path),
                "why": each.why,
                "image": None if each.image is None else _kept(etc, each.path),
            }
            for each in etc.conflicts
        ],
        "skipped": [_whole(path) for path in etc.skipped],
    }


def format_etc(etc: MachineEtc) -> str:
    lines = [f"{change.value:<13} {_whole(path)}" for path, change in etc.changes]
    lines = lines or [f"/etc of deployment {etc.deployment} matches its tree"]
    lines += [f"not carried   {_whole(path)}" for path in etc.skipped]
    for each in etc.conflicts:
        lines.append(f"conflict      {_whole(each.path)}: {each.why}")
        if each.image is not None:
            lines.append(f"              the image's: {_kept(etc, each.path)}")
    return "\n".join(one_line(line) for line in lines)


def _whole(path: str) -> str:
    return f"/etc/{path}" if path else "/etc"


def _kept(etc: MachineEtc, path: str) -> str:
    return str(etc.paths.conflicts / "image" / path)
