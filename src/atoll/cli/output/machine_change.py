"""What a change of the machine file did or would do, as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atoll.cli.output.progress import format_amount
from atoll.cli.output.upgrade import MOST, packages_as_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.debian.pin import Pin
    from atoll.layering.change_machine import ChangeResult, Edited
    from atoll.lock.resolve import LockDifference


def format_difference(found: LockDifference, *, most: int | None = MOST) -> Iterator[str]:
    """A line for each package that comes, goes or moves, and a sum."""
    rows = [f"+ {pin.name} {pin.version}, {_bytes(pin.size)}" for pin in found.added]
    rows += [f"- {pin.name} {pin.version}" for pin in found.removed]
    rows += [
        f"  {one.after.name} {one.before.version} → {one.after.version}" for one in found.changed
    ]
    yield from rows[:most]
    if most is not None and len(rows) > most:
        yield f"  … and {len(rows) - most} more"
    new = (*found.added, *(one.after for one in found.changed))
    if new:
        count = "1 package" if len(new) == 1 else f"{len(new)} packages"
        yield f"{count} to fetch, {_bytes(sum(pin.size for pin in new))}"


def change_as_json(done: ChangeResult) -> dict[str, Any]:
    deployment = done.staged.deployment
    return {
        "deployment": deployment.number,
        "tree": deployment.tree,
        "notes": list(done.notes),
        "packages": packages_as_json(done.packages),
        "enables": list(done.enables),
        "reboot": True,
    }


def preview_as_json(edited: Edited, difference: LockDifference | None) -> dict[str, Any]:
    return {
        "machine_file": edited.text,
        "notes": list(edited.notes),
        **_packages(difference),
        "reboot": True,
    }


def _packages(difference: LockDifference | None) -> dict[str, Any]:
    if difference is None:
        return {"added": [], "removed": [], "changed": []}
    return {
        "added": [_pin(pin) for pin in difference.added],
        "removed": [_pin(pin) for pin in difference.removed],
        "changed": [_pin(one.after) | {"from": one.before.version} for one in difference.changed],
    }


def _pin(pin: Pin) -> dict[str, Any]:
    return {
        "name": pin.name,
        "architecture": pin.architecture,
        "version": pin.version,
        "size": pin.size,
    }


def _bytes(amount: int) -> str:
    return format_amount(amount, "B")
