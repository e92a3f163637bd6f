"""Carrying out a live change, from its record in ``/run/atoll`` to its end.

::

    asked      check → mount the target's tree → attach it beneath /usr and the rest
               → merge /etc, mount it, attach it beneath → stop units that are gone
    switching  detach the upper mounts: /usr first, each by one system call
    switched   users, daemon-reload, temporary files, caches → start and restart units

Until ``switching`` an error leaves the old system as it was. From then on the change only goes
forward: after an interruption ``atoll-live.service`` continues from the phase in the record.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atoll.base.errors import Refused
from atoll.host.fs import replace_file
from atoll.host.run import run
from atoll.host.signals import signals_deferred
from atoll.machine.deployments.apply import apply_each, apply_operations
from atoll.machine.deployments.history import HistoryEvent, RecordEvent
from atoll.machine.deployments.state import read_deployment
from atoll.machine.etc.etc_operations import RemoveFile
from atoll.machine.live.check import plan_live
from atoll.machine.live.describe import read_facts, read_loaded_modules, read_machine_facts
from atoll.machine.live.merge_etc import find_late_changes, merge_etc
from atoll.machine.live.mount_stack import etc_source, read_stack, tree_source
from atoll.machine.live.namespaces import ProtectEtc, find_read_only
from atoll.machine.live.operations import RunInSystem
from atoll.machine.live.plan_mounts import (
    LiveMounts,
    plan_attach,
    plan_etc_mount,
    plan_exchange,
    plan_tree_mounts,
)
from atoll.machine.live.record import LiveResult, Phase, format_change, format_running
from atoll.machine.live.tree_view import TreeView
from atoll.machine.live.units import PROPERTIES, parse_units, plan_units
from atoll.oci.system_label import compare_packages
from atoll.store.layout import open_store
from atoll.store.tree_images import read_image_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from atoll.base.report import Reporter
    from atoll.host.mount_syscalls import MountNamespace
    from atoll.machine.deployments.operations import Operation
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.etc_tree import Node
    from atoll.machine.live.merge_etc import MergedEtc
    from atoll.machine.live.record import LiveChange, LivePlaces
    from atoll.machine.live.units import UnitPlan
    from atoll.tree.etc_rules import Rules

CACHES = ("atoll-identities.service", "atoll-caches.service", "atoll-instead.service")
"""Services of a boot that make what is missing or stale; they run again."""
_TMPFILES_PARTLY = (65, 73)
"""systemd-tmpfiles: a line was wrong, or something could not be made. The boot accepts it, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveJob:
    """``machine`` is locked, and writable in this process's mount namespace; ``namespace`` is that
    of the running system. ``read_rules`` reads the machine's own rules for ``/etc`` from one."""

    machine: Sysroot
    places: LivePlaces
    namespace: MountNamespace
    read_rules: Callable[[Node], Rules]
    reporter: Reporter


def continue_change(job: LiveJob, change: LiveChange) -> LiveResult:
    """Carry out ``change`` from its phase to its end.

    Raises Refused and others while nothing has changed; the record is then gone.
    """
    mounts = _describe_mounts(job, change)
    if change.phase is Phase.SWITCHED:
        return _settle(job, change, mounts)
    late: tuple[str, ...] = ()
    if change.phase is Phase.ASKED:
        try:
            change, merged = _prepare(job, change, mounts)
        except BaseException:
            job.places.change.unlink(missing_ok=True)
            raise
        _exchange(job, change, mounts)
        late = find_late_changes(job.machine, merged, change.source)
    else:
        apply_operations(plan_tree_mounts(mounts))
        _exchange(job, change, mounts)
    result = _settle(job, change, mounts)
    return replace(result, warnings=(*_describe_late(late, change), *result.warnings))


def _describe_late(late: tuple[str, ...], change: LiveChange) -> tuple[str, ...]:
    """A change that was made between the merge and the exchange is in the old ``/etc`` only."""
    upper = f"/sysroot/atoll/deployments/{change.source}/etc/upper"
    return tuple(
        f"/etc/{path} changed during the change: the new version is only in {upper}"
        for path in late
    )


def _describe_mounts(job: LiveJob, change: LiveChange) -> LiveMounts:
    machine, places, booted = job.machine, job.places, job.machine.booted
    loaded = read_loaded_modules()
    return LiveMounts(
        places=places,
        namespace=job.namespace,
        atoll=machine.atoll,
        digest=read_deployment(machine, change.target).tree,
        etc=machine.deployments / str(change.target) / "etc",
        booted=change.target == booted,
        verity="verity=require" in read_stack(places.root)[0].options,
        source=tree_source(change.source, booted),
        tree=tree_source(change.target, booted),
        etc_name=etc_source(change.target, booted),
        running=read_facts(machine, change.source, loaded),
        target=read_facts(machine, change.target, loaded),
    )


def _prepare(job: LiveJob, change: LiveChange, mounts: LiveMounts) -> tuple[LiveChange, MergedEtc]:
    """All that can fail, while nothing has changed for anybody; the change with its units."""
    undo = change.target == job.machine.booted
    _check(job, change, mounts, undo=undo)
    with job.reporter.step("Attaching the new system beneath the running one"):
        apply_operations((*plan_tree_mounts(mounts), *plan_attach(mounts, etc=False)))
    units = _list_units(job)
    with job.reporter.step("Merging /etc"):
        merged = merge_etc(job.machine, job.places.root / "etc", change, job.read_rules, undo=undo)
        apply_operations((*plan_etc_mount(mounts), *plan_attach(mounts, etc=True)))
    plan = _plan_units(job, change, mounts, merged, units)
    protected = find_read_only(job.places.root / "etc")
    change = replace(change, units=plan, phase=Phase.SWITCHING, protected=protected)
    replace_file(job.places.change, format_change(change), mode=0o600)
    return change, merged


def _check(job: LiveJob, change: LiveChange, mounts: LiveMounts, *, undo: bool) -> None:
    facts = read_machine_facts(job.machine, job.places, change.target)
    if undo:
        facts = replace(facts, conflicts=())
    reasons = plan_live(mounts.running, mounts.target, facts)
    if reasons:
        raise refused(reasons)


def refused(reasons: tuple[str, ...]) -> Refused:
    """The error of a change that needs a reboot."""
    return Refused(f"this needs a reboot: {'; '.join(reasons)}", hint="systemctl reboot")


def _list_units(job: LiveJob) -> str:
    words = ["systemctl", "show", "*", "--all", f"--property={','.join(PROPERTIES)}"]
    with job.namespace.entered():
        return run(words).decode(errors="replace")


def _plan_units(
    job: LiveJob, change: LiveChange, mounts: LiveMounts, merged: MergedEtc, units: str
) -> UnitPlan:
    store = open_store(job.machine.atoll)
    views = []
    for number, etc in ((change.source, merged.live), (change.target, merged.result)):
        tree = read_deployment(job.machine, number).tree
        views.append(TreeView(store=store, image=read_image_bytes(store, tree), etc=etc))
    changes = compare_packages(mounts.running.packages or {}, mounts.target.packages or {})
    names = (
        *(name for name, _ in (*changes.added, *changes.removed)),
        *(name for name, _, _ in changes.changed),
    )
    return plan_units(parse_units(units), views[0], views[1], names, own=change.own)


def _exchange(job: LiveJob, change: LiveChange, mounts: LiveMounts) -> None:
    """Units that are gone stop while their files are there, then the mounts are exchanged."""
    target = read_deployment(job.machine, change.target)
    record = job.machine.deployments / str(change.target) / "etc/merged-from"
    if change.units.stop:
        apply_each((_in_system(job, "systemctl", "stop", *change.units.stop),))
    with job.reporter.step("Exchanging /usr and /etc"), signals_deferred():
        etc = job.places.root / "etc"
        protect = ProtectEtc(namespaces=change.protected, etc=etc, source=mounts.etc_name)
        apply_operations((*plan_exchange(mounts), protect))
        if change.target == job.machine.booted:
            job.places.running.unlink(missing_ok=True)
        else:
            replace_file(job.places.running, format_running(target))
        done = replace(change, phase=Phase.SWITCHED)
        replace_file(job.places.change, format_change(done), mode=0o600)
        apply_operations((RemoveFile(path=record),))


def _settle(job: LiveJob, change: LiveChange, mounts: LiveMounts) -> LiveResult:
    """Everything that a boot does with a new system; failures are warnings, the change is made."""
    deployment = read_deployment(job.machine, change.target)
    event = HistoryEvent(
        when=int(time.time()),
        what="undo live" if change.target == job.machine.booted else "live",
        deployment=change.target,
        was=change.source,
        name=deployment.name,
        version=deployment.version,
        tree=deployment.tree,
    )
    with job.reporter.step("Caches and units"):
        warnings = apply_each(
            (
                *_plan_settling(job, change, mounts),
                RecordEvent(state=job.machine.state, event=event),
            )
        )
    job.places.change.unlink(missing_ok=True)
    return LiveResult(units=change.units, warnings=warnings)


def _plan_settling(job: LiveJob, change: LiveChange, mounts: LiveMounts) -> tuple[Operation, ...]:
    units = change.units
    before, after = (
        (each.packages or {}).get("systemd") for each in (mounts.running, mounts.target)
    )
    reload = "daemon-reload" if before == after else "daemon-reexec"
    operations = [
        _in_system(job, "systemd-sysusers"),
        _in_system(job, "systemctl", reload),
        RunInSystem(
            namespace=job.namespace,
            words=("systemd-tmpfiles", "--create", "--exclude-prefix=/dev"),
            accepted=_TMPFILES_PARTLY,
        ),
        _in_system(job, "systemctl", "try-restart", *CACHES),
        # It watches directories, and the new ones are others. It may not be running.
        RunInSystem(
            namespace=job.namespace, words=("systemctl", "reload", "dbus.service"), accepted=(1, 5)
        ),
    ]
    if units.restart:
        operations.append(_in_system(job, "systemctl", "try-restart", *units.restart))
    if units.start:
        operations.append(_in_system(job, "systemctl", "start", *units.start))
    return tuple(operations)


def _in_system(job: LiveJob, *words: str) -> RunInSystem:
    return RunInSystem(namespace=job.namespace, words=words)
