"""A report as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atoll.machine.deployments.history import HistoryEvent
    from atoll.machine.deployments.state import MachineState
    from atoll.machine.drift.model import Drift, Unread
    from atoll.machine.health.report import HealthReport
    from atoll.machine.protection import Protection
    from atoll.machine.report.redact import Json, KnownNames


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedSystem:
    """The system that the report is about. ``image`` is the reference that it came from, empty
    where it is not known; ``base`` is the image that it is derived from, and ``base_tree`` its
    tree, or empty."""

    number: int
    name: str
    version: str
    tree: str
    kernel: str
    image: str = ""
    base: str = ""
    base_tree: str = ""
    architecture: str = ""
    machine_file: Json = None
    """The machine file without what may be secret; None where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedBoot:
    """The last boot that failed: attempt ``number`` of ``deployment``, which began at ``started``
    (seconds since 1970, 0 if unknown). ``messages`` are those of kernel and early boot."""

    deployment: int
    number: int
    started: int
    why: str
    messages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineReport:
    """Where something is None, it could not be read, and ``unread`` says why; on a machine in a
    directory that is also all that only a running machine has."""

    when: int
    atoll: str
    system: ReportedSystem
    state: MachineState
    known: KnownNames
    drift: Drift | None = None
    health: HealthReport | None = None
    protection: Protection | None = None
    history: tuple[HistoryEvent, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    failed_units: tuple[str, ...] | None = None
    failed_boot: FailedBoot | None = None
    notes: tuple[str, ...] = ()
    """What early boot of this boot left for people."""
    command_line: str = ""
    unread: tuple[Unread, ...] = ()
