"""Executing operations: every verb that changes a machine does it here.

Until its commit a plan raises whatever goes wrong: the machine is then as it was. After its commit
the new state holds: what still fails is a warning, and the next operation cleans up.

Before each operation ``apply_operations`` raises the audit event ``atoll.operation`` with the
operation's description (PEP 578), so that what a machine does can be logged, and tests can compare
it with ``atoll plan --operations`` or stop it there.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atoll.base.report import Reporter
    from atoll.machine.deployments.operations import Operation

AUDIT_EVENT = "atoll.operation"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitPlan:
    """``commit`` ends with the operation that decides what boots; ``afterwards`` follows it."""

    commit: tuple[Operation, ...]
    afterwards: tuple[Operation, ...]

    @property
    def operations(self) -> tuple[Operation, ...]:
        return (*self.commit, *self.afterwards)


def apply_operations(operations: Iterable[Operation], reporter: Reporter | None = None) -> None:
    """Execute operations in order, each as a step of ``reporter``; raises the first error."""
    for operation in operations:
        description = operation.describe()
        sys.audit(AUDIT_EVENT, description)
        with nullcontext() if reporter is None else reporter.step(description):
            operation.execute()


def apply_until_failure(operations: Iterable[Operation]) -> tuple[str, ...]:
    """Execute what follows a commit, in order, until one fails; what failed."""
    for operation in operations:
        try:
            apply_operations((operation,))
        except (AtollError, OSError) as error:
            return (f"{operation.describe()}: {error}",)
    return ()


def apply_each(operations: Iterable[Operation]) -> tuple[str, ...]:
    """Execute operations that may fail alone, whatever becomes of the others; what failed."""
    return tuple(
        warning for operation in operations for warning in apply_until_failure((operation,))
    )


def apply_plan(plan: CommitPlan) -> tuple[str, ...]:
    """Raises errors before and in the commit; returns what failed after it."""
    apply_operations(plan.commit)
    return apply_until_failure(plan.afterwards)


def format_warning(failed: Iterable[str]) -> str | None:
    """One text for the user; None when nothing failed."""
    reasons = "; ".join(dict.fromkeys(failed))
    return (
        f"the operation succeeded, but the cleanup did not finish: {reasons}" if reasons else None
    )
