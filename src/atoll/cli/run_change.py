"""What ``add``, ``remove``, ``apply`` and ``kargs`` have in common: carry out, and say what was
done."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from atoll.base.errors import NothingToDo
from atoll.base.text import one_line
from atoll.cli.confirm_time import read_confirm_time
from atoll.cli.output.machine_change import change_as_json, format_difference, preview_as_json
from atoll.cli.output.upgrade import package_lines
from atoll.cli.run.upgrade import find_staged, print_confirm, print_staged, run_live
from atoll.layering.change_machine import change_machine, preview_change
from atoll.machine.deployments.sysroot import find_installed
from atoll.machine.live.live import require_ready

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from atoll.base.report import Reporter
    from atoll.layering.change_machine import ChangeRequest


def run_change(
    arguments: argparse.Namespace,
    request: ChangeRequest,
    reporter: Reporter,
    *,
    undo: str = "",
    more: Mapping[str, object] | None = None,
) -> int:
    """``undo`` is the verb with its words that takes the change back later; ``more`` are further
    fields of the JSON."""
    confirm = read_confirm_time(arguments)
    sysroot = find_installed(getattr(arguments, "root", None))
    live, as_json = getattr(arguments, "live", False), getattr(arguments, "json", False)
    request = replace(request, confirm=confirm)
    if live:
        require_ready(sysroot)
    try:
        done = change_machine(sysroot, request, reporter)
    except NothingToDo:
        staged = find_staged(sysroot) if live else None
        if staged is None:
            raise
        run_live(sysroot, staged, {} if as_json else None, reporter, confirm=confirm)
        return 0
    if as_json and not live:
        print(json.dumps({**(more or {}), **change_as_json(done)}, indent=2))
    elif not as_json:
        for line in package_lines(done.packages):
            print(one_line(line))
        if done.enables:
            print(one_line(f"  enables    {', '.join(done.enables)}"))
    for note in done.notes:
        reporter.notice(f"note: {one_line(note)}")
    if done.staged.warning:
        reporter.notice(f"{done.staged.warning}\n  next: {sysroot.command('gc')}")
    reporter.notice("the machine file: /etc/atoll/machine.toml (see: atoll edit)")
    if undo:
        reporter.notice(f"to take it back later: {sysroot.command(undo)}")
    if live:
        document = {**(more or {}), **change_as_json(done)} if as_json else None
        run_live(sysroot, done.staged.deployment, document, reporter, confirm=confirm)
    else:
        made = done.staged
        print_staged(made.deployment, made.merge, sysroot, reporter, live="apply --live")
        print_confirm(confirm, reporter)
    return 0


def run_preview(
    arguments: argparse.Namespace, request: ChangeRequest, reporter: Reporter, *, verb: str
) -> int:
    """What ``run_change`` would do; ``verb`` has its words."""
    sysroot = find_installed(getattr(arguments, "root", None))
    edited, difference = preview_change(sysroot, request, reporter)
    if getattr(arguments, "json", False):
        print(json.dumps(preview_as_json(edited, difference), indent=2))
    elif difference is None:
        print("the image itself boots next, without changes")
    else:
        for line in format_difference(difference, most=None):
            print(one_line(line))
    for note in edited.notes:
        reporter.notice(f"note: {one_line(note)}")
    reporter.notice("it takes effect with a reboot, or at once with --live where that can be whole")
    reporter.notice(f"next: {sysroot.command(verb)}")
    return 0
