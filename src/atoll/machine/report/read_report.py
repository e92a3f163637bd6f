"""Read what a report says of a machine; what cannot be read is listed with the reason."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from atoll import __version__
from atoll.base.errors import AtollError
from atoll.host.fs import OWN_LIMIT, read_regular
from atoll.image.info import parse_image_info
from atoll.image.packages import parse_package_list
from atoll.image.paths import IMAGE_INFO, PACKAGES
from atoll.machine.boot.secure_boot import Signatures
from atoll.machine.deployments.history import read_history
from atoll.machine.deployments.public_status import may_read_machine, read_public_status
from atoll.machine.deployments.state import read_origin, read_state
from atoll.machine.drift.account_drift import read_accounts_of
from atoll.machine.drift.model import Unread
from atoll.machine.drift.read_drift import NEEDS_ROOT, open_tree_files, read_drift, read_etc_pair
from atoll.machine.etc.etc_tree import node_at
from atoll.machine.health.boot_failure_report import NOTES, read_notes
from atoll.machine.health.report import read_report as read_health_report
from atoll.machine.machine_file import FILE, PLACE
from atoll.machine.protection import read_protection
from atoll.machine.report.failed_boot import (
    find_failed_boot,
    read_boot_messages,
    read_failed_units,
)
from atoll.machine.report.machine_file_text import show_machine_file
from atoll.machine.report.model import MachineReport, ReportedSystem
from atoll.machine.report.redact import KnownNames, find_people

if TYPE_CHECKING:
    from collections.abc import Callable

    from atoll.machine.deployments.public_status import PublicState
    from atoll.machine.deployments.state import MachineState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.drift.tree_files import TreeFiles
    from atoll.machine.etc.etc_tree import Node
    from atoll.machine.health.report import HealthReport
    from atoll.machine.protection import Protection
    from atoll.machine.report.model import FailedBoot

Result = TypeVar("Result")
COMMAND_LINE = Path("/proc/cmdline")
EVENTS = 12
"""How many of the last events of the history are reported."""
PROGRAMS = (
    "atoll",
    "atoll-system",
    "systemd",
    "dracut",
    "libc6",
    "python3",
    "systemd-boot-efi",
    "shim-signed",
)
"""Packages whose versions matter for how a machine boots and is upgraded."""


@dataclass(slots=True)
class _Reading:
    sysroot: Sysroot
    number: int
    unread: list[Unread] = field(default_factory=list)

    def attempt(self, what: str, read: Callable[[], Result]) -> Result | None:
        """The result of ``read``; None where that fails, which is noted."""
        try:
            return read()
        except PermissionError:
            self.unread.append(Unread(what=what, why=NEEDS_ROOT))
        except (AtollError, OSError) as error:
            self.unread.append(Unread(what=what, why=str(error)))
        return None


def read_machine_report(sysroot: Sysroot, number: int) -> MachineReport:
    """About deployment ``number``. Raises NotFound or Damaged where not even that is known."""
    reading = _Reading(sysroot=sysroot, number=number)
    reads_all = may_read_machine(sysroot)
    public = None if reads_all else read_public_status()
    state = public.state if public else read_state(sysroot)
    tree = open_tree_files(sysroot, number)
    live = reading.attempt("/etc", lambda: read_etc_pair(sysroot, number).live)
    system = _read_system(reading, state, public, tree, live)
    report = MachineReport(
        when=int(time.time()),
        atoll=__version__,
        system=system,
        state=state,
        known=_read_names(live, system.name, runs=sysroot.is_running),
        drift=reading.attempt("what differs", lambda: read_drift(sysroot, number)),
        versions=reading.attempt("versions", lambda: _read_versions(tree)) or (),
    )
    if reads_all:
        report = _with_history(reading, report)
    else:
        reading.unread += [Unread(what="health and history", why=NEEDS_ROOT)]
    if sysroot.is_running:
        report = _with_running(reading, report, public)
    return replace(report, unread=tuple(reading.unread))


def _with_history(reading: _Reading, report: MachineReport) -> MachineReport:
    health = reading.attempt("health", lambda: read_health_report(reading.sysroot))
    events = reading.attempt("history", lambda: read_history(reading.sysroot.state)) or ()
    failed = None if health is None else _read_failed_boot(reading, health)
    return replace(report, health=health, history=events[-EVENTS:], failed_boot=failed)


def _read_failed_boot(reading: _Reading, health: HealthReport) -> FailedBoot | None:
    failed = find_failed_boot(health)
    if failed is None or not reading.sysroot.is_running:
        return failed
    lines = reading.attempt("messages of the failed boot", lambda: read_boot_messages(failed))
    return replace(failed, messages=lines or ())


def _with_running(
    reading: _Reading, report: MachineReport, public: PublicState | None
) -> MachineReport:
    line = read_regular(COMMAND_LINE, limit=OWN_LIMIT).decode(errors="replace").strip()
    return replace(
        report,
        protection=reading.attempt("protection", lambda: _read_protection(reading, public)),
        failed_units=reading.attempt("failed units", read_failed_units),
        notes=reading.attempt(str(NOTES), read_notes) or (),
        command_line=line,
    )


def _read_protection(reading: _Reading, public: PublicState | None) -> Protection:
    try:
        known = public or read_public_status()
    except (AtollError, OSError):
        return read_protection(reading.sysroot, (), Signatures())
    return read_protection(reading.sysroot, known.key_slots, known.signatures)


def _read_system(
    reading: _Reading,
    state: MachineState,
    public: PublicState | None,
    tree: TreeFiles,
    live: Node | None,
) -> ReportedSystem:
    found = state.find(reading.number)
    deployment = found.deployment if found else None
    info = reading.attempt(
        "image.json", lambda: parse_image_info(tree.read(IMAGE_INFO), where="the tree")
    )
    image = (
        public.follows
        if public
        else reading.attempt(
            "the image's reference", lambda: read_origin(reading.sysroot, reading.number).image
        )
    )
    node = None if live is None else node_at(live, PLACE)
    text = None if node is None else reading.attempt(FILE, node.entry.read)
    base = info.base if info else None
    return ReportedSystem(
        number=reading.number,
        name=deployment.name if deployment else info.name if info else "",
        version=deployment.version if deployment else info.version if info else "",
        tree=deployment.tree if deployment else "",
        kernel=deployment.kernel if deployment else info.kernel if info else "",
        image=image or "",
        base=f"{base.name} {base.version}" if base else "",
        base_tree=base.tree if base else "",
        architecture=info.architecture if info else "",
        machine_file=show_machine_file(text.decode(errors="replace")) if text else None,
    )


def _read_names(live: Node | None, image: str, *, runs: bool) -> KnownNames:
    """The names to take out: those of the machine's ``/etc``, and on the running machine the host
    name that it has now. A machine that is called as its image has no name of its own."""
    users = read_accounts_of(live).users if live else {}
    node = None if live is None else node_at(live, "hostname")
    hosts = set()
    if node is not None:
        lines = node.entry.read().decode(errors="replace").split()
        hosts |= {each for each in lines if not each.startswith("#")}
    if runs:
        hosts.add(os.uname().nodename)
    hosts |= {each.partition(".")[0] for each in hosts}
    hosts.discard(image)
    return KnownNames(
        hosts=tuple(sorted(hosts)),
        people=find_people({name: (user.uid, user.comment) for name, user in users.items()}),
    )


def _read_versions(tree: TreeFiles) -> tuple[tuple[str, str], ...]:
    data = tree.read(PACKAGES)
    info = tree.read(IMAGE_INFO)
    if data is None:
        return ()
    native = parse_image_info(info, where="the tree").architecture
    packages = parse_package_list(data, native=native, where=PACKAGES)
    chosen = [
        name for name in sorted(packages) if name in PROGRAMS or name.startswith("linux-image")
    ]
    return tuple((name, packages[name]) for name in chosen)
