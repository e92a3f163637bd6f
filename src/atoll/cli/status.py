"""``atoll status``: show the deployments of a machine, which one runs and which one boots next."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, UsageError
from atoll.base.text import cut, one_line
from atoll.cli.output.confirmation import confirmation_as_json, confirmation_lines
from atoll.cli.output.progress import format_moment
from atoll.cli.output.protection import format_protection, protection_as_json
from atoll.machine.deployments.beside import find_older_system
from atoll.machine.deployments.layer_report import describe_layers, read_layer_report
from atoll.machine.deployments.public_status import may_read_machine, read_public_status
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import LiveChanges, find_sysroot
from atoll.machine.deployments.way_back import explain_no_way_back
from atoll.machine.live.mount_stack import is_scratch

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from atoll.base.report import Reporter
    from atoll.machine.deployments.state import DeploymentState, MachineState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.protection import Protection

WIDTH = 80
USR = Path("/usr")
WATCHDOGS = Path("/sys/class/watchdog")
_LIVE = {
    LiveChanges.MEMORY: "live system, changes are lost at shutdown",
    LiveChanges.PERSISTENCE: "live system, changes are kept on its stick",
}
_MARKS = ("booted", "running", "default", "staged", "fallback", "pinned", "held")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="use the machine in this directory"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument(
        "--publish",
        action="store_true",
        help="write the status that everyone may read (run at each boot)",
    )


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    sysroot = find_sysroot(arguments.root)
    if arguments.publish:
        return _publish(sysroot)
    when = None
    if may_read_machine(sysroot):
        state = read_state(sysroot)
        reasons = _why_no_way_back(sysroot, state)
        beside = find_older_system(sysroot)
    else:
        public = read_public_status()
        state, when, reasons = public.state, public.when, public.no_way_back
        beside = public.beside
    is_running = arguments.root is None
    protection = _read_protection(sysroot) if is_running else None
    if arguments.json:
        document = as_json(state) | {
            "watchdog": has_watchdog() if is_running else None,
            "live": sysroot.live,
            "scratch": is_running and is_scratch(USR),
            "beside": beside or None,
            "confirm": confirmation_as_json(sysroot),
            "protection": None if protection is None else protection_as_json(protection),
        }
        print(json.dumps(document, indent=2))
    else:
        print("\n".join((*_describe_kind(sysroot, state, beside), format_state(state))))
        if protection is not None:
            print(format_protection(protection))
    for line in _list_notices(sysroot, state, reasons):
        reporter.notice(line)
    # The firmware variables of a live system belong to what is installed on this computer.
    if is_running and sysroot.live is None:
        _report_overrides(reporter)
        _report_watchdog(state, reporter)
    if when is not None:
        reporter.notice(f"as of {format_moment(when)}; for the current status: sudo atoll status")
    if not arguments.json:
        reporter.notice(next_step(sysroot, state))
    return 0


def _list_notices(
    sysroot: Sysroot, state: MachineState, no_way_back_why: Sequence[str]
) -> list[str]:
    confirmation = confirmation_lines(sysroot, state)
    reasons = no_way_back(sysroot, no_way_back_why)
    return [*confirmation, *reasons, *warnings(state), *layer_notices(sysroot)]


def _report_watchdog(state: MachineState, reporter: Reporter) -> None:
    default = state.default
    if default is not None and not default.blessed and not has_watchdog():
        reporter.notice("no watchdog: if the next boot hangs, the machine must be reset by hand")


def _describe_kind(sysroot: Sysroot, state: MachineState, beside: str) -> list[str]:
    """That it is a live system, shares the disk with an older system, or was changed live."""
    lines = [] if sysroot.live is None else [_LIVE[sysroot.live]]
    if beside:
        lines.append(cut(f"beside {one_line(beside)}, which the boot menu starts, too", WIDTH))
    applied = state.find(state.applied)
    if applied is not None:
        title = one_line(applied.deployment.title)
        lines.append(cut(f"changed live: /usr and /etc are those of {title}", WIDTH))
    if sysroot.booted is not None and is_scratch(USR):
        lines.append("scratch: /usr is writable, and changes are lost at the next boot")
    return lines


def _why_no_way_back(sysroot: Sysroot, state: MachineState) -> tuple[str, ...]:
    """Why there is no way back; empty if there is one. On the running machine this reads the result
    that each boot and each change records, because reading kernels and trees takes seconds."""
    if sysroot.booted is None:
        from atoll.machine.deployments.boot_check import verifier

        return explain_no_way_back(state, verifier(sysroot))
    obvious = explain_no_way_back(state, lambda each, _: each.flaw)
    if obvious:
        return obvious
    with suppress(AtollError, OSError):
        return read_public_status().no_way_back
    return ()


def _read_protection(sysroot: Sysroot) -> Protection:
    """What only root can read is noted in each boot and after each change, for root too: reading it
    takes time."""
    from atoll.machine.boot.secure_boot import Signatures
    from atoll.machine.protection import read_protection

    key_slots: tuple[str, ...] = ()
    signatures = Signatures()
    with suppress(AtollError, OSError):
        public = read_public_status()
        key_slots, signatures = public.key_slots, public.signatures
    return read_protection(sysroot, key_slots, signatures)


def _publish(sysroot: Sysroot) -> int:
    """Write the public status: ``locked_machine`` does that at its end, even if nothing changed.
    In a fallback, the machine file is put right before."""
    from atoll.machine.deployments.apply import apply_operations
    from atoll.machine.deployments.machine_lock import locked_machine
    from atoll.machine.restore_machine_file import plan_restore_machine_file

    if sysroot.booted is None:
        raise UsageError("--publish works only on the running machine", hint="leave out --root")
    with locked_machine(sysroot, esp=False) as machine:
        with suppress(AtollError, OSError):
            apply_operations(plan_restore_machine_file(machine, sysroot.booted))
        return 0


def has_watchdog(devices: Path = WATCHDOGS) -> bool:
    return any(devices.glob("watchdog[0-9]*"))


def as_json(state: MachineState) -> dict[str, object]:
    return {
        "deployments": [_deployment_as_json(found) for found in state.deployments],
        "damaged": list(state.damaged),
        "flaws": {str(each.number): each.flaw for each in state.deployments if each.flaw},
        "foreign": list(state.menu.foreign),
    }


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
        "fallback": found.fallback,
        "running": found.running,
        "blessed": found.blessed,
        "pinned": found.pinned,
        "held": found.held,
        "why_held": found.hold.why if found.hold else None,
        "layers": list(found.layers),
    }


def format_state(state: MachineState) -> str:
    """The deployments as text, at most 80 columns wide."""
    if not state.deployments:
        return "no deployments"
    lines = []
    for found in state.deployments:
        deployment = found.deployment
        marks = ", ".join(mark for mark in _MARKS if getattr(found, mark))
        head = f"{'*' if found.booted else ' '} {deployment.number:<3} {deployment.name} "
        head += f"{deployment.version}"
        lines.append(cut(f"{head}   {marks}".rstrip(), WIDTH))
        lines.append(f"      tree   {deployment.tree}")
        lines.append(cut(f"      kernel {deployment.kernel}", WIDTH))
        if found.layers:
            lines.append(cut(one_line(f"      with   {', '.join(found.layers)}"), WIDTH))
        if found.flaw:
            lines.append(cut(f"      cannot boot: {found.flaw}", WIDTH))
        if found.hold is not None:
            lines.append(cut(f"      held   {found.hold.why}", WIDTH))
    return "\n".join(lines)


def warnings(state: MachineState) -> list[str]:
    """Lines about everything that is damaged or missing."""
    lines = [f"damaged: {one_line(each)}" for each in state.damaged]
    lines += [
        f"cannot boot: {one_line(each.deployment.title)}: {one_line(each.flaw)}"
        for each in state.deployments
        if each.flaw
    ]
    if state.deployments and state.default is None:
        lines.append("no boot entry of a deployment was found on the ESP")
    fallback = any(each.fallback for each in state.deployments)
    if state.default is not None and not (state.default.blessed or fallback):
        lines.append("there is no fallback if the next boot fails")
    if state.menu.foreign:
        foreign = one_line(", ".join(state.menu.foreign))
        lines.append(f"files on the ESP that are not Atoll's (left alone): {foreign}")
    return lines


def layer_notices(sysroot: Sysroot) -> list[str]:
    """What the last upgrade made of packages of the machine file that no longer fit."""
    if not may_read_machine(sysroot):
        return []
    try:
        report = read_layer_report(sysroot.state)
    except (AtollError, OSError) as error:
        return [f"damaged: {one_line(str(error))}"]
    if report is None:
        return []
    return [*describe_layers(report, edit=sysroot.command("edit"))]


def no_way_back(sysroot: Sysroot, why: Sequence[str]) -> list[str]:
    """The warning that there is no way back, with the reasons ``why``; nothing without a reason."""
    if not why:
        return []
    upgrade, rollback = sysroot.command("upgrade"), sysroot.command("rollback --keep-etc")
    return [
        "NO WAY BACK: no deployment that booted before can boot unattended",
        *(f"  {one_line(each)}" for each in why),
        f"  to get one: {upgrade}, or {rollback}",
    ]


def next_step(sysroot: Sysroot, state: MachineState) -> str:
    """The command that most probably comes next."""
    if sysroot.live is not None:
        return "next: atoll install puts this system on a disk of this computer"
    default = state.default
    if state.applied is not None and default is not None and default.running:
        return f"next: nothing; to take the live change back: {sysroot.command('cancel')}"
    if default is not None and default.staged:
        title = one_line(default.deployment.title)
        return f"next: systemctl reboot, into {title} (or: {sysroot.command('cancel')})"
    if state.damaged:
        collect = sysroot.command("gc --damaged")
        return f"next: repair it, or remove damaged deployments with: {collect}"
    return f"next: {sysroot.command('plan')} shows whether there is a newer version"


def _report_overrides(reporter: Reporter) -> None:
    from atoll.machine.boot.nvram import clear_override, read_overrides

    for each in read_overrides():
        what = f"the firmware variable {each.variable} selects {each.entry} for the next boot"
        done = "cleared" if clear_override(each) else "clear it with: sudo atoll status"
        reporter.notice(f"{what}: {done}")
