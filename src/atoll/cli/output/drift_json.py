"""What differs on a machine, as JSON; docs/reference/drift.md describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atoll.machine.drift.model import AccountDrift, Drift, UnitDrift


def drift_as_json(drift: Drift, explained: frozenset[str]) -> dict[str, object]:
    """``explained`` are names of what the machine file has already."""
    damaged = None
    if drift.damaged is not None:
        damaged = [{"path": each.path, "why": each.why} for each in drift.damaged]
    return {
        "deployment": drift.number,
        "tree": drift.deployment.tree if drift.deployment else None,
        "etc": [
            {
                "path": f"/etc/{each.path}".rstrip("/"),
                "change": each.change,
                "package": each.owner or None,
            }
            for each in drift.etc
        ],
        "units": list(map(_unit_as_json, drift.units)),
        "accounts": list(map(_account_as_json, drift.accounts)),
        "local": [
            {"path": each.path, "files": each.files, "size": each.size, "more": each.more}
            for each in drift.local
        ],
        "kernel": [
            {
                "where": each.where,
                "added": list(each.added),
                "removed": list(each.removed),
                "reordered": each.reordered,
            }
            for each in drift.kernel
        ],
        "scratch": drift.scratch or None,
        "damaged": damaged,
        "in_machine_file": sorted(explained),
        "not_compared": [{"what": each.what, "why": each.why} for each in drift.unread],
    }


def _unit_as_json(unit: UnitDrift) -> dict[str, object]:
    return {
        "unit": unit.unit,
        "manager": unit.manager,
        "change": unit.change,
        "added": [f"/etc/{path}" for path in unit.added],
        "removed": [f"/etc/{path}" for path in unit.removed],
    }


def _account_as_json(account: AccountDrift) -> dict[str, object]:
    return {
        "kind": account.kind,
        "name": account.name,
        "change": account.change,
        "fields": [
            {"field": each.field, "before": each.before, "after": each.after}
            for each in account.fields
        ],
    }
