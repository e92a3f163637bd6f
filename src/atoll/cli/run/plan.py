"""``atoll plan``: what it does; ``cli/plan.py`` has its arguments."""

from __future__ import annotations

import json
from shlex import join
from typing import TYPE_CHECKING

from atoll.base.errors import MissingPrivilege, NothingToDo
from atoll.base.text import one_line
from atoll.cli.output.upgrade import (
    cleanup_as_json,
    format_cleanup,
    format_preview,
    format_rollback,
    format_staged,
    preview_as_json,
    rollback_as_json,
)
from atoll.cli.references import format_image, require_image
from atoll.machine.deployments.public_status import may_read_machine, read_public_status
from atoll.machine.deployments.retention import require_current
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import find_installed
from atoll.machine.gc import collect_garbage
from atoll.machine.operation_list import (
    list_gc_operations,
    list_rollback_operations,
    list_upgrade_operations,
)
from atoll.machine.public_plan import preview_public_upgrade
from atoll.machine.rollback import preview_rollback
from atoll.machine.upgrade import UpgradeRequest, preview_staged, preview_upgrade

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.upgrade_check import UpgradePreview


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    if arguments.what in ("add", "remove", "apply"):
        return _plan_change(arguments, reporter)
    sysroot = find_installed(getattr(arguments, "root", None))
    if arguments.what == "capture":
        raise _nothing_to_plan(sysroot)
    as_json = getattr(arguments, "json", False)
    if getattr(arguments, "operations", False):
        return _print_operations(sysroot, arguments, as_json=as_json)
    if not may_read_machine(sysroot) and arguments.what in (None, "upgrade", "rebase"):
        return _plan_without_root(sysroot, _request(arguments, sysroot), reporter, as_json=as_json)
    if arguments.what == "rollback":
        found = preview_rollback(sysroot, arguments.which, keep_etc=arguments.keep_etc)
        print(json.dumps(rollback_as_json(found), indent=2) if as_json else format_rollback(found))
        return 0
    if arguments.what == "gc":
        result = collect_garbage(sysroot, arguments.keep, reporter, dry=True)
        text = format_cleanup(result, dry=True)
        print(json.dumps(cleanup_as_json(result), indent=2) if as_json else text)
        return 0
    return _plan_upgrade(sysroot, _request(arguments, sysroot), reporter, as_json=as_json)


def _plan_change(arguments: argparse.Namespace, reporter: Reporter) -> int:
    from atoll.cli.run import add, apply, remove
    from atoll.cli.run_change import run_preview
    from atoll.layering.change_packages import read_package_words

    words = "" if arguments.what == "apply" else f" {join(arguments.packages)}"
    request = {
        "add": lambda: add.make_request(read_package_words(arguments.packages)),
        "remove": lambda: remove.make_request(arguments.packages),
        "apply": apply.make_request,
    }[arguments.what]()
    return run_preview(arguments, request, reporter, verb=f"{arguments.what}{words}")


def _nothing_to_plan(sysroot: Sysroot) -> NothingToDo:
    return NothingToDo(
        "what a program does is known only after it ran, so there is nothing to plan",
        hint=f"{sysroot.command('capture')} -- CMD shows it, and asks before anything is kept",
    )


def _print_operations(sysroot: Sysroot, arguments: argparse.Namespace, *, as_json: bool) -> int:
    if not may_read_machine(sysroot):
        raise MissingPrivilege("only root can see the operations", hint="try again with sudo")
    if arguments.what == "rollback":
        which, keep_etc = arguments.which, arguments.keep_etc
        operations = list_rollback_operations(sysroot, which, keep_etc=keep_etc)
    elif arguments.what == "gc":
        operations = list_gc_operations(sysroot, arguments.keep)
    else:
        operations = list_upgrade_operations(sysroot, _request(arguments, sysroot))
    lines = [each.describe() for each in operations]
    if as_json:
        print(json.dumps({"operations": lines}, indent=2))
    else:
        for line in lines:
            print(one_line(line))
    return 0


def _request(arguments: argparse.Namespace, sysroot: Sysroot) -> UpgradeRequest:
    if arguments.what == "rebase":
        return UpgradeRequest(
            verb="rebase",
            image=format_image(require_image(arguments.image, sysroot.atoll, sysroot)),
        )
    return UpgradeRequest(verb="upgrade")


def _plan_without_root(
    sysroot: Sysroot, request: UpgradeRequest, reporter: Reporter, *, as_json: bool
) -> int:
    public = read_public_status()
    preview = preview_public_upgrade(sysroot, public, request)
    now = public.state.current.deployment.title if public.state.current else ""
    command = sysroot.command(request.words)
    _show(preview, now, sysroot, request, as_json=as_json)
    reporter.notice(f"these are upper limits: exact figures need root\nnext: sudo {command}")
    return 0


def _plan_upgrade(
    sysroot: Sysroot, request: UpgradeRequest, reporter: Reporter, *, as_json: bool
) -> int:
    try:
        preview = preview_upgrade(sysroot, request)
    except NothingToDo:
        if not as_json and request.image is None:
            _show_staged(sysroot)
        raise
    now = require_current(read_state(sysroot)).deployment.title
    _show(preview, now, sysroot, request, as_json=as_json)
    reporter.notice(f"next: {sysroot.command(request.words)}")
    return 0


def _show_staged(sysroot: Sysroot) -> None:
    """Print what a staged version brings, and raise NothingToDo; nothing if none is staged."""
    state = read_state(sysroot)
    staged, packages = preview_staged(sysroot, state)
    if staged is None:
        return
    now = require_current(state).deployment.title
    print(format_staged(staged.deployment.title, now, packages))
    raise NothingToDo(
        f"{staged.deployment.title} is staged: it starts with the next reboot",
        hint=f"systemctl reboot, or undo with: {sysroot.command('cancel')}",
    )


def _show(
    preview: UpgradePreview, now: str, sysroot: Sysroot, request: UpgradeRequest, *, as_json: bool
) -> None:
    """Print the preview, then raise its obstacle."""
    if as_json:
        print(json.dumps(preview_as_json(preview, sysroot), indent=2))
    else:
        print(format_preview(preview, now, sysroot, request))
    if preview.obstacle is not None:
        raise preview.obstacle
