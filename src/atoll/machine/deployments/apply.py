"""Doing what was planned, so that its outcome is told as it is.

Until its commit a plan raises whatever goes wrong: the machine is then as it was. After its commit
it is done: what still fails is a warning, and the next operation clears it up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.errors import AtollError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atoll.machine.deployments.operations import Operation


def apply_operations(operations: Iterable[Operation]) -> None:
    """All of them, in order; raises what goes wrong."""
    for operation in operations:
        operation.execute()


def apply_until_failure(operations: Iterable[Operation]) -> tuple[str, ...]:
    """What follows a commit, in order, until one fails; what failed."""
    for operation in operations:
        try:
            operation.execute()
        except (AtollError, OSError) as error:
            return (f"{operation.describe()}: {error}",)
    return ()


def apply_each(operations: Iterable[Operation]) -> tuple[str, ...]:
    """Each of them, whatever becomes of the others, for those that may fail alone; what failed."""
    return tuple(
        warning for operation in operations for warning in apply_until_failure((operation,))
    )


def format_warning(failed: Iterable[str]) -> str | None:
    """One text for a person; None when nothing failed."""
    told = tuple(dict.fromkeys(failed))
    return (
        f"the operation succeeded, but the cleanup did not finish: {'; '.join(told)}"
        if told
        else None
    )
