"""``atoll drift``: what it does; ``cli/drift.py`` has its arguments."""

from __future__ import annotations

import difflib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, Damaged, NothingToDo, Unchecked, UsageError
from atoll.base.text import one_line
from atoll.cli.output.drift import format_drift
from atoll.cli.output.drift_json import drift_as_json
from atoll.cli.typed_confirmation import confirm_change
from atoll.host.fs import require_root
from atoll.layering.adopt import plan_adoption
from atoll.layering.adopt_command import find_explained, read_view, write_adoption
from atoll.machine.deployments.sysroot import find_installed, find_sysroot
from atoll.machine.drift.damaged_files import find_damaged
from atoll.machine.etc.etc_commands import choose_deployment, choose_shown
from atoll.machine.machine_file import FILE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from atoll.base.report import Reporter
    from atoll.layering.adopt import MachineView
    from atoll.layering.adoption import Adoption
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.drift.model import Drift


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    if arguments.adopt is not None:
        return _adopt(arguments, reporter)
    sysroot = find_sysroot(getattr(arguments, "root", None))
    number = choose_shown(sysroot, arguments.deployment)
    if arguments.verify and sysroot.is_running:
        require_root("verifying files")
    view = read_view(sysroot, number)
    drift, explained = view.drift, _find_explained(view, reporter)
    if arguments.verify:
        drift = replace(drift, damaged=find_damaged(sysroot, number, reporter))
    if getattr(arguments, "json", False):
        print(json.dumps(drift_as_json(drift, explained), indent=2))
    else:
        print(format_drift(drift, explained))
    return _conclude(drift, explained, sysroot, reporter)


def _find_explained(view: MachineView, reporter: Reporter) -> frozenset[str]:
    try:
        return find_explained(view)
    except AtollError as error:
        reporter.notice(f"the machine file cannot be compared: {one_line(str(error))}")
        return frozenset()


def _conclude(drift: Drift, explained: frozenset[str], sysroot: Sysroot, reporter: Reporter) -> int:
    """The exit code, with what to do next."""
    if drift.damaged:
        raise Damaged(
            f"files of the image are damaged: {len(drift.damaged)}",
            hint=f"to fetch the image again: {sysroot.command('upgrade')}",
        )
    if drift.is_empty and drift.unread:
        raise Unchecked(
            "nothing differs, but not everything could be read",
            hint="for all of it: sudo atoll drift" if sysroot.is_running else None,
        )
    if drift.is_empty:
        return NothingToDo.exit_code
    if drift.etc:
        reporter.notice(f"to restore a file in /etc: {sysroot.command('etc reset PATH')}")
    if explained:
        reporter.notice(f"to apply the machine file: {sysroot.command('apply')}")
    if drift.etc or drift.units or drift.accounts or drift.kernel:
        reporter.notice(f"to take it into the machine file: {sysroot.command('drift --adopt')}")
    return 0


def _adopt(arguments: argparse.Namespace, reporter: Reporter) -> int:
    if arguments.verify or arguments.deployment is not None:
        raise UsageError("--adopt goes with neither --verify nor --deployment")
    sysroot = find_installed(getattr(arguments, "root", None))
    if sysroot.is_running:
        require_root("changing the machine file")
    number = choose_deployment(sysroot, None)
    view = read_view(sysroot, number)
    adoption = plan_adoption(view, arguments.adopt)
    if getattr(arguments, "json", False):
        print(json.dumps(adoption_as_json(adoption), indent=2))
    else:
        print("\n".join(format_adoption(view.text, adoption)))
    confirm_change(f"write {FILE}", yes=arguments.yes)
    write_adoption(sysroot, number, view, adoption)
    apply = sysroot.command("apply")
    reporter.notice(f"next: {apply} makes it part of the system, which changes nothing here")
    return 0


def format_adoption(before: str, adoption: Adoption) -> Iterator[str]:
    """What would be written, as a unified diff, and what is left out."""
    yield from map(
        one_line,
        difflib.unified_diff(
            before.splitlines(), adoption.text.splitlines(), FILE, FILE, lineterm="", n=1
        ),
    )
    for path, content in adoption.files.items():
        private = ", only for root" if path in adoption.private else ""
        yield one_line(f"and beside it: /etc/{path} ({len(content)} bytes{private})")
    if adoption.left:
        yield ""
        yield "left out:"
    for each in adoption.left:
        yield one_line(f"  {each.name}: {each.why}")
        if each.secret:
            yield one_line(f"    secret; to take it all the same: --adopt {each.name}")


def adoption_as_json(adoption: Adoption) -> dict[str, object]:
    return {
        "machine_file": adoption.text,
        "files": [f"/etc/{path}" for path in adoption.files],
        "adopted": list(adoption.adopted),
        "left": [
            {"name": each.name, "why": each.why, "secret": each.secret} for each in adoption.left
        ],
    }
