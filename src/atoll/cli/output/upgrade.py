"""What an upgrade, a rollback or garbage collection would do or did, as text and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atoll.base.text import one_line
from atoll.cli.output.progress import format_amount

if TYPE_CHECKING:
    from atoll.machine.candidate import Candidate
    from atoll.machine.cleanup import CleanupResult
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.merge import Merge
    from atoll.machine.rollback import RollbackPreview
    from atoll.machine.upgrade import UpgradeRequest, UpgradeResult
    from atoll.machine.upgrade_check import UpgradePreview
    from atoll.oci.system_label import PackageChanges

MOST = 20
"""How many names of a kind are printed; the rest is counted."""


def candidate_as_json(candidate: Candidate) -> dict[str, Any]:
    return {
        "image": candidate.origin.image,
        "name": candidate.name,
        "version": candidate.version,
        "tree": candidate.tree,
        "manifest": candidate.pull.image.digest if candidate.pull else None,
        "fetch": candidate.fetch,
    }


def staged_as_json(staged: UpgradeResult) -> dict[str, Any]:
    made = staged.deployment
    return {
        **candidate_as_json(staged.candidate),
        "deployment": made.number if made else None,
        "conflicts": _conflicts(staged.merge),
        "removed": list(staged.pruned.removal.deployments) if staged.pruned else [],
        "freed": staged.pruned.collected.freed if staged.pruned else 0,
        "reboot": made is not None,
    }


def preview_as_json(preview: UpgradePreview, sysroot: Sysroot) -> dict[str, Any]:
    candidate = preview.candidate
    return {
        **candidate_as_json(candidate),
        "packages": packages_as_json(preview.packages),
        "space": [
            {"path": str(sysroot.root), "needed": preview.needed.state, "free": preview.free.state},
            {"path": str(sysroot.esp), "needed": preview.needed.esp, "free": preview.free.esp},
        ],
        "etc": {
            "changed_here": preview.changed_here,
            "made_here": preview.made_here,
            "known": preview.etc is not None,
            "conflicts": _conflicts(preview.etc),
        },
        "reboot": True,
        "live": None
        if preview.live is None
        else {"possible": not preview.live, "reasons": list(preview.live)},
        "obstacle": preview.obstacle.message if preview.obstacle else None,
    }


def packages_as_json(changes: PackageChanges | None) -> dict[str, Any] | None:
    if changes is None:
        return None
    return {
        "added": [{"name": name, "version": version} for name, version in changes.added],
        "removed": [{"name": name, "version": version} for name, version in changes.removed],
        "changed": [
            {"name": name, "from": before, "to": after} for name, before, after in changes.changed
        ],
    }


def format_preview(
    preview: UpgradePreview, now: str, sysroot: Sysroot, request: UpgradeRequest
) -> str:
    """What ``request`` would do to the machine whose running deployment is called ``now``."""
    candidate = preview.candidate
    lines = [f"{now} → {candidate.title}", f"  image      {candidate.origin.image}"]
    lines += package_lines(preview.packages)
    lines.append(
        f"  download   {format_amount(candidate.fetch, 'B') if candidate.fetch else 'nothing'}"
    )
    for place, need, free in (
        (sysroot.root, preview.needed.state, preview.free.state),
        (sysroot.esp, preview.needed.esp, preview.free.esp),
    ):
        words = f"{format_amount(need, 'B')} of {format_amount(free, 'B')} free"
        lines.append(f"  space      up to {words} on {place}")
    lines += _etc_lines(preview, sysroot, request)
    lines.append(f"  reboot     {_describe_reboot(preview, sysroot, request)}")
    return "\n".join(map(one_line, lines))


def _describe_reboot(preview: UpgradePreview, sysroot: Sysroot, request: UpgradeRequest) -> str:
    if preview.live is None:
        return "needed"
    if preview.live:
        return f"needed: {'; '.join(preview.live)}"
    return f"not needed with: {sysroot.command(f'{request.words} --live')}"


def format_staged(title: str, now: str, packages: PackageChanges | None) -> str:
    """What the next reboot brings to the machine whose running deployment is called ``now``."""
    lines = [f"{now} → {title}", *package_lines(packages), "  reboot     needed"]
    return "\n".join(map(one_line, lines))


def format_rollback(found: RollbackPreview) -> str:
    lines = [f"back to {found.target.deployment.title}"]
    if found.settings:
        lines.append(f"  /etc       {_count(len(found.settings), 'path')} change back:")
        lines += [f"    {change.value:<13} /etc/{path}" for path, change in found.settings[:MOST]]
        lines += _more(len(found.settings))
    if found.settings is None:
        lines.append("  /etc       changes back; the differences cannot be read here")
    lines += [
        f"  held       {each.deployment.title}: upgrades skip it" for each in found.left_behind
    ]
    lines.append("  reboot     needed")
    return "\n".join(map(one_line, lines))


def rollback_as_json(found: RollbackPreview) -> dict[str, Any]:
    return {
        "deployment": found.number,
        "version": found.target.deployment.version,
        "tree": found.target.deployment.tree,
        "held": [each.number for each in found.left_behind],
        "settings": [
            {"path": f"/etc/{path}", "change": change.value}
            for path, change in found.settings or ()
        ],
        "settings_known": found.settings is not None,
        "warning": found.warning,
        "reboot": True,
    }


def format_cleanup(result: CleanupResult, *, dry: bool) -> str:
    verb = "would remove" if dry else "removed"
    lines = [f"{verb} {title}" for title in result.titles]
    collected = result.collected
    what = f"{_count(collected.objects, 'object')}, {_count(collected.images, 'tree')}"
    lines.append(f"{verb} {what}: {format_amount(collected.freed, 'B')}")
    return "\n".join(map(one_line, lines))


def cleanup_as_json(result: CleanupResult) -> dict[str, Any]:
    return {
        "deployments": list(result.removal.deployments),
        "entries": list(result.removal.entries),
        "objects": result.collected.objects,
        "trees": result.collected.images,
        "freed": result.collected.freed,
        "warning": result.warning,
    }


def conflict_lines(merge: Merge | None) -> list[str]:
    if merge is None:
        return []
    lines = [one_line(f"conflict: /etc/{each.path}: {each.why}") for each in merge.conflicts[:MOST]]
    return lines + _more(len(merge.conflicts))


def _conflicts(merge: Merge | None) -> list[dict[str, str]]:
    found = merge.conflicts if merge else ()
    return [{"path": f"/etc/{each.path}", "why": each.why} for each in found]


def package_lines(changes: PackageChanges | None) -> list[str]:
    if changes is None:
        return ["  packages   unknown: the image does not list them"]
    kinds = (
        ("changed", [f"{name} {old} → {new}" for name, old, new in changes.changed]),
        ("added", [f"{name} {version}" for name, version in changes.added]),
        ("removed", [f"{name} {version}" for name, version in changes.removed]),
    )
    summary = ", ".join(f"{len(names)} {kind}" for kind, names in kinds if names)
    lines = [f"  packages   {summary or 'unchanged'}"]
    for kind, names in kinds:
        lines += [f"    {kind:<8} {name}" for name in names[:MOST]]
        lines += _more(len(names))
    return lines


def _etc_lines(preview: UpgradePreview, sysroot: Sysroot, request: UpgradeRequest) -> list[str]:
    plan = sysroot.command(f"plan {request.words}" if request.image else "plan")
    if preview.changed_here is None:
        return [f"  /etc       to show changes and conflicts: sudo {plan}"]
    mine = f"{_count(preview.changed_here, 'change')} of yours" if preview.changed_here else ""
    own = "the keys and IDs of this machine" if preview.made_here else ""
    kept = " and ".join(filter(None, (mine, own)))
    lines = [f"  /etc       kept: {kept}" if kept else "  /etc       no local changes"]
    if preview.etc is None:
        return [
            *lines,
            "             to list conflicts, fetch the image first:",
            f"             {sysroot.command(f'{request.words} --download-only')}",
            f"             {plan}",
        ]
    lines.append(f"             {_count(len(preview.etc.conflicts), 'conflict')}")
    return lines + [f"    {line}" for line in conflict_lines(preview.etc)]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _more(count: int) -> list[str]:
    return [f"    … and {count - MOST} more"] if count > MOST else []
