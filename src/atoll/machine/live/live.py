"""Asking for a live change: the verbs' door to ``machine/live``.

A verb writes what it asks for to ``/run/atoll``, and starts ``atoll-live.service``, which carries
it out: in the mount namespace of the running system, outside of the session that asked, so that a
closed terminal interrupts nothing, and again after it was killed.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, Busy, NothingToDo, Refused
from atoll.host.fs import replace_file, require_root
from atoll.host.mount_syscalls import MountNamespace, open_namespace
from atoll.host.run import run
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.sysroot import find_sysroot
from atoll.machine.deployments.write_status import publish_or_forget
from atoll.machine.live.change import LiveJob, continue_change
from atoll.machine.live.describe import explain_reboot
from atoll.machine.live.mount_stack import is_scratch
from atoll.machine.live.record import (
    LiveChange,
    LivePlaces,
    LiveResult,
    Phase,
    format_change,
    read_change,
    read_result,
    write_result,
)
from atoll.machine.live.scratch import discard_scratch, make_scratch

if TYPE_CHECKING:
    from collections.abc import Callable

    from atoll.base.report import Reporter
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.etc_tree import Node
    from atoll.tree.etc_rules import Rules

SERVICE = "atoll-live.service"
CGROUP = Path("/proc/self/cgroup")
PLACES = LivePlaces()


def check_live(sysroot: Sysroot, number: int) -> tuple[str, ...]:
    """Why deployment ``number`` needs a reboot; empty when it can go live. Raises Damaged."""
    running = require_running(sysroot)
    return explain_reboot(sysroot, PLACES, running, number)


def require_ready(sysroot: Sysroot) -> None:
    """Raises Refused, Busy or MissingPrivilege where no live change can be made now, so that a verb
    can say so before it does anything else."""
    require_root("changing the running system")
    require_running(sysroot)
    _require_none_unfinished()
    if is_scratch(PLACES.root / "usr"):
        raise Refused(
            "/usr has a scratch overlay: a live change would hide it",
            hint="to remove it: atoll scratch --discard",
        )


def go_live(sysroot: Sysroot, number: int, reporter: Reporter) -> LiveResult:
    """Make the ``/usr`` and ``/etc`` of deployment ``number`` the running ones.

    No lock of the machine may be held. Raises NothingToDo when they are, Refused when it needs a
    reboot, and Busy while another live change is not finished.
    """
    require_root("changing the running system")
    running = require_running(sysroot)
    if number == running:
        raise NothingToDo(f"deployment {number} is the one that runs")
    _require_none_unfinished()
    change = LiveChange(source=running, target=number, own=find_own_unit())
    PLACES.result.unlink(missing_ok=True)
    replace_file(PLACES.change, format_change(change), mode=0o600)
    with reporter.step(f"Going live with deployment {number}"):
        return _run_service()


def undo_live(sysroot: Sysroot, reporter: Reporter) -> LiveResult:
    """Return to the ``/usr`` and ``/etc`` of the deployment that was booted, settings merged.

    Raises NothingToDo where there is no live change.
    """
    if sysroot.booted is None or sysroot.applied is None:
        raise NothingToDo("there is no live change: what was booted is what runs")
    return go_live(sysroot, sysroot.booted, reporter)


def change_scratch(sysroot: Sysroot, size: int | None) -> None:
    """Make ``/usr`` writable, with ``size`` bytes of memory for changes; without, make it the
    deployment's again. Raises NothingToDo, and Busy while a live change is not finished."""
    require_root("changing the running system")
    require_running(sysroot)
    _require_none_unfinished()
    namespace = MountNamespace(outer=open_namespace())
    with locked_machine(sysroot, esp=False, published=False) as machine:
        if size is None:
            discard_scratch(machine, PLACES, namespace)
        else:
            make_scratch(PLACES, namespace, size)


def _require_none_unfinished() -> None:
    if read_change(PLACES) is not None:
        raise Busy(
            "another live change is not finished", hint=f"to finish it: systemctl start {SERVICE}"
        )


def require_running(sysroot: Sysroot) -> int:
    """The deployment whose ``/usr`` runs. Raises Refused for a machine in a directory."""
    if sysroot.running is None or sysroot.live is not None:
        raise Refused(
            "only the running system can be changed live, and no live system",
            hint="leave out --root" if sysroot.booted is None else "reboot",
        )
    return sysroot.running


def find_own_unit(place: Path = CGROUP) -> str:
    """The unit that this process belongs to; empty if it is not known."""
    try:
        text = place.read_text()
    except OSError:
        return ""
    units = re.findall(r"([^/\n]+\.(?:service|scope))", text)
    return units[-1] if units else ""


def _run_service() -> LiveResult:
    failure: AtollError | None = None
    try:
        run(["systemctl", "start", SERVICE])
    except AtollError as error:
        failure = error
    result = read_result(PLACES)
    if result is None:
        raise Refused(
            "the live change did not finish" + (f": {failure.message}" if failure else ""),
            hint=f"see: journalctl -u {SERVICE}; to continue: systemctl start {SERVICE}",
        )
    if result.error:
        raise Refused(result.error, hint=result.hint or None)
    return result


def finish_change(
    sysroot: Sysroot,
    read_rules: Callable[[Sysroot, Node], Rules],
    reporter: Reporter,
) -> LiveResult:
    """Carry out the change that was asked for, or continue one that was interrupted.

    Raises NothingToDo when there is none. An error that left the old system as it was is in the
    result, too: the verb that asked shows it.
    """
    places = PLACES
    change = read_change(places)
    if change is None:
        raise NothingToDo("no live change was asked for")
    namespace = MountNamespace(outer=open_namespace())
    try:
        with locked_machine(sysroot, esp=False, published=False) as machine:
            job = LiveJob(
                machine=machine,
                places=places,
                namespace=namespace,
                read_rules=lambda etc: read_rules(machine, etc),
                reporter=reporter,
            )
            result = continue_change(job, change)
            write_result(places, result)
            publish_or_forget(find_sysroot(None), when=int(time.time()))
    except AtollError as error:
        left = read_change(places)
        if left is None or left.phase is Phase.ASKED:
            places.change.unlink(missing_ok=True)
            write_result(places, LiveResult(error=error.message, hint=error.hint or ""))
        raise
    return result
