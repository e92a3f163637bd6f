"""Why a fallback runs: the report on a deployment that failed to boot.

The verdict is stored beside the records of its boot attempts and shown at every login, until the
deployment is blessed, removed, or tried with a new entry. Its tree is held when there is evidence
against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.base.text import one_line
from atoll.host.fs import read_if_there
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.flags import Hold, SetFlag, set_hold
from atoll.machine.deployments.history import HistoryEvent, RecordEvent
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.health.boot_attempts import (
    DISABLED_TRIES_USED,
    BootVerdict,
    attempts_directory,
    decide_verdict,
    format_verdict,
    read_attempts,
    read_verdict,
    readable,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atoll.machine.boot.boot_entries import MenuEntry
    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.state import DeploymentState, MachineState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.health.pstore import Panic

ISSUE = Path("/run/issue.d/50-atoll.issue")
MOTD = Path("/run/motd.d/50-atoll")
NOTES = Path("/run/atoll/notes")


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedDeployment:
    """A deployment without tries left; ``known``: its verdict was stored before."""

    state: DeploymentState
    verdict: BootVerdict
    known: bool


def find_failed(machine: MachineState) -> tuple[tuple[DeploymentState, MenuEntry], ...]:
    """Deployments without any tries left, newest first, each with its newest entry. Not the running
    one: see ``explain_running``."""
    used_up = ((state, find_used_up(machine, state)) for state in machine.deployments)
    return tuple((state, entry) for state, entry in used_up if entry and not state.booted)


def find_used_up(machine: MachineState, state: DeploymentState) -> MenuEntry | None:
    """The newest entry of a deployment that was never healthy and has no tries left.

    Not of one that a rollback left: Atoll disabled its entries (``disable_entries``).
    """
    entries = machine.menu.entries_of(state.number)
    if state.blessed or not entries or not all(each.name.is_bad for each in entries):
        return None
    newest = max(entries, key=lambda each: each.name.sequence)
    return newest if newest.name.tries_used > DISABLED_TRIES_USED else None


def decide_failed(
    sysroot: Sysroot, machine: MachineState, panics: Iterable[Panic]
) -> tuple[FailedDeployment, ...]:
    records = tuple(panics)
    judged = []
    for state, menu_entry in find_failed(machine):
        verdict = read_verdict(sysroot, state.number)
        known = verdict is not None and verdict.entry == menu_entry.name.sequence
        if verdict is None or not known:
            verdict = _decide(sysroot, state, menu_entry, records)
        judged.append(FailedDeployment(state=state, verdict=verdict, known=known))
    return tuple(judged)


def explain_running(
    sysroot: Sysroot, machine: MachineState, panics: Iterable[Panic]
) -> BootVerdict | None:
    """Why the running deployment has used up its tries and runs all the same: nothing else can
    boot, as on a new machine. None where it was healthy once, or is still on trial."""
    runs = machine.current
    menu_entry = None if runs is None else find_used_up(machine, runs)
    if runs is None or menu_entry is None:
        return None
    return _decide(sysroot, runs, menu_entry, tuple(panics))


def _decide(
    sysroot: Sysroot, state: DeploymentState, menu_entry: MenuEntry, panics: tuple[Panic, ...]
) -> BootVerdict:
    made = sysroot.deployments / str(state.number) / "deployment.json"
    try:
        attempts = read_attempts(sysroot, state.number)
        return decide_verdict(menu_entry.name, attempts, panics, staged=int(made.stat().st_mtime))
    except (OSError, Damaged) as error:
        why = f"the records of its boot attempts cannot be read: {error}"
        return BootVerdict(entry=menu_entry.name.sequence, evidence=False, why=why)


def plan_report(
    sysroot: Sysroot, machine: MachineState, failed: Iterable[FailedDeployment], *, now: int
) -> tuple[Operation, ...]:
    """The verdict is written last: it says that everything before it was done."""
    runs = machine.current
    operations: list[Operation] = []
    for each in failed:
        if each.known:
            continue
        deployment, verdict = each.state.deployment, each.verdict
        if verdict.evidence and not each.state.held:
            hold = Hold(
                deployment=deployment.number, version=deployment.version, why=verdict.why, when=now
            )
            operations.append(set_hold(sysroot.state, deployment.tree, hold))
        if runs is not None:
            event = HistoryEvent(
                when=now,
                what="fallback",
                deployment=runs.number,
                was=deployment.number,
                name=runs.deployment.name,
                version=runs.deployment.version,
                tree=runs.deployment.tree,
            )
            operations.append(RecordEvent(state=sysroot.state, event=event))
        place = attempts_directory(sysroot, deployment.number) / "verdict"
        operations.append(SetFlag(path=place, content=format_verdict(verdict)))
    return tuple(operations)


def apply_report(sysroot: Sysroot, plan: tuple[Operation, ...]) -> None:
    """Raises Busy or MissingPrivilege."""
    if not plan:
        return
    with locked_machine(sysroot, esp=False) as machine:
        (machine.state / "tries").mkdir(exist_ok=True)
        apply_operations(plan)


def format_login_message(
    machine: MachineState,
    failed: Iterable[FailedDeployment],
    notes: Iterable[str] = (),
    *,
    running: BootVerdict | None = None,
) -> str:
    """The message that is shown at login; empty when there is nothing to report. ``running`` is
    what ``explain_running`` says."""
    runs = machine.current
    lines = []
    if runs is not None and running is not None:
        lines.append(f"{runs.deployment.title} is running, but was not healthy in any boot so far.")
        lines.append(f"  Why: {running.why}")
        lines.append("  See: atoll health")
    for each in failed:
        title = each.state.deployment.title
        lines.append(
            f"{title} failed to boot" + (f"; {runs.deployment.title} is running." if runs else ".")
        )
        lines.append(f"  Why: {each.verdict.why}")
        if each.verdict.evidence:
            lines.append("  Automatic updates will not install it again. See: atoll health")
        else:
            lines.append("  That may not be its fault: atoll upgrade tries it again.")
    lines += [f"Atoll: {note}" for note in notes if note]
    return "".join(f"{one_line(line)}\n" for line in lines)


def read_notes(path: Path = NOTES) -> tuple[str, ...]:
    """The messages that early boot left for users."""
    data = read_if_there(path) or b""
    return tuple(map(readable, data.decode(errors="replace").splitlines()))


def write_login_message(text: str, *, issue: Path = ISSUE, motd: Path = MOTD) -> None:
    """Show the message before the console prompt (issue) and after a login (motd)."""
    # For agetty a backslash begins an escape sequence.
    for path, content in ((issue, text.replace("\\", "\\\\")), (motd, text)):
        if content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        else:
            path.unlink(missing_ok=True)
