"""Drift as values: what differs on a machine from the tree of a deployment.

No value holds the content of a file, a password or its hash, so that all of them can be printed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atoll.machine.deployment import Deployment
    from atoll.machine.etc.etc_tree import EtcChange


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcDrift:
    """``path`` is relative to ``/etc``. ``owner`` is the package that ships it, or empty."""

    path: str
    change: EtcChange
    owner: str = ""


class UnitChange(StrEnum):
    ENABLED = "enabled"
    DISABLED = "disabled"
    MASKED = "masked"
    UNMASKED = "unmasked"
    LINKS = "other links"
    """It was enabled and still is, by other links."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitDrift:
    """A unit of ``manager``, ``system`` or ``user``. ``added`` and ``removed`` are the links that
    changed, relative to ``/etc``."""

    unit: str
    manager: str
    change: UnitChange
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class AccountKind(StrEnum):
    USER = "user"
    GROUP = "group"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """A field of an account; the values of ``password`` are always empty."""

    field: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountDrift:
    """``change`` is ADDED, REMOVED or CHANGED. For an account that was added, ``fields`` has all
    of it."""

    kind: AccountKind
    name: str
    change: EtcChange
    fields: tuple[FieldChange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDrift:
    """Content in ``/usr/local`` or ``/opt``: ``files`` (links included) of ``size`` bytes at and
    below ``path``. ``more``: counting stopped, there are more."""

    path: str
    files: int
    size: int
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelDrift:
    """Kernel arguments that ``where`` has and the image does not, and the reverse. ``where`` is the
    file of a boot entry, or ``this boot``."""

    where: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    reordered: bool = False
    """The same arguments in another order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedFile:
    """A file of the tree whose content is not what the tree says."""

    path: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """What could not be compared, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """``scratch`` is the upper directory of a writable overlay on ``/usr``, or empty. ``damaged``
    is None when contents were not verified. ``deployment`` is None for a user who may not read
    which image it has; ``number`` is known to all."""

    number: int
    deployment: Deployment | None = None
    etc: tuple[EtcDrift, ...] = ()
    units: tuple[UnitDrift, ...] = ()
    accounts: tuple[AccountDrift, ...] = ()
    local: tuple[LocalDrift, ...] = ()
    kernel: tuple[KernelDrift, ...] = ()
    scratch: str = ""
    damaged: tuple[DamagedFile, ...] | None = None
    unread: tuple[Unread, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs, as far as it could be read."""
        groups = (self.etc, self.units, self.accounts, self.local, self.kernel)
        return not (any(groups) or self.scratch or self.damaged)
