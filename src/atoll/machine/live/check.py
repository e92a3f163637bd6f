"""Whether a deployment can go live, or needs a reboot and why. Pure.

``docs/reference/live.md`` lists the reasons. A tree that is not here yet has less to compare: what
is None is not known, and gives no reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NAMED = 3
"""How many names of a kind one reason lists."""
_NUMBERS = {"libc6": 0, "systemd": 1, "dbus": 2, "dbus-daemon": 2, "dbus-broker": 1}
"""Packages of which every process depends on what runs already, and how many numbers of their
upstream versions must stay; 0 means all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeFacts:
    """What decides of a tree whether it can go live; None is not known.

    ``pair`` names the content of kernel and initrd, ``modules`` that of kernel modules by name.
    ``top`` are the names in ``/``. ``owned`` and ``opt`` are directories that are mounted from the
    tree: in ``/var``, and names in ``/opt``.
    """

    kernel: str
    arguments: tuple[str, ...] | None = None
    pair: str | None = None
    packages: Mapping[str, str] | None = None
    modules: Mapping[str, str] | None = None
    top: frozenset[str] | None = None
    owned: tuple[str, ...] = ()
    opt: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """What decides of the running system. ``loaded`` are kernel modules in use, ``mounts`` mount
    points below ``/usr`` and ``/etc`` that are not Atoll's, ``conflicts`` open ones in the ``/etc``
    of the deployment that is to go live."""

    loaded: frozenset[str] = frozenset()
    mounts: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    scratch: bool = False
    unfinished: bool = False


def plan_live(running: TreeFacts, target: TreeFacts, machine: MachineFacts) -> tuple[str, ...]:
    """Why ``target`` cannot become the running one now; empty when it can."""
    reasons = [
        *_machine_reasons(machine),
        *kernel_reasons(running, target, machine.loaded),
        *_package_reasons(running.packages, target.packages),
    ]
    if None not in (running.top, target.top) and running.top != target.top:
        reasons.append(
            _list("other directories in /", (running.top or set()) ^ (target.top or set()))
        )
    return tuple(reasons)


def _machine_reasons(machine: MachineFacts) -> list[str]:
    reasons = []
    if machine.unfinished:
        reasons.append("another live change is not finished")
    if machine.scratch:
        reasons.append("/usr has a scratch overlay; to remove it: atoll scratch --discard")
    if machine.mounts:
        reasons.append(_list("something else is mounted at", machine.mounts))
    if machine.conflicts:
        reasons.append(_list("conflicts in /etc", [f"/etc/{path}" for path in machine.conflicts]))
    return reasons


def kernel_reasons(running: TreeFacts, target: TreeFacts, loaded: frozenset[str]) -> list[str]:
    """Why the kernel that runs, with the modules ``loaded``, is not that of ``target``."""
    if running.kernel != target.kernel:
        return [f"another kernel: {running.kernel} → {target.kernel}"]
    reasons = []
    if None not in (running.pair, target.pair) and running.pair != target.pair:
        reasons.append("another initrd or another build of the kernel")
    if None not in (running.arguments, target.arguments):
        changed = set(running.arguments or ()) ^ set(target.arguments or ())
        if changed:
            reasons.append(_list("other kernel arguments", changed))
    if running.modules is not None and target.modules is not None:
        in_use = {
            name
            for name in loaded & running.modules.keys()
            if running.modules[name] != target.modules.get(name)
        }
        if in_use:
            reasons.append(_list("other kernel modules that are in use", in_use))
    return reasons


def _package_reasons(
    running: Mapping[str, str] | None, target: Mapping[str, str] | None
) -> list[str]:
    if running is None or target is None:
        return []
    reasons = []
    for name, count in _NUMBERS.items():
        before, after = running.get(name), target.get(name)
        if before is None and after is None:
            continue
        if before is None or after is None:
            reasons.append(f"{name} is {'added' if before is None else 'removed'}")
        elif _upstream(before, count) != _upstream(after, count):
            reasons.append(f"another {name}: {before} → {after}")
    return reasons


def major_version(version: str) -> int:
    """The first number of an upstream version; 0 without one."""
    return next(map(int, _upstream(version, 1)), 0)


def _upstream(version: str, count: int) -> tuple[str, ...]:
    """The first ``count`` numbers of a version without epoch and Debian revision; 0 for all."""
    upstream = version.rpartition(":")[2].partition("-")[0].partition("~")[0]
    numbers = tuple(re.findall(r"[0-9]+", upstream))
    return numbers[:count] if count else numbers


def _list(what: str, names: Iterable[str]) -> str:
    found = sorted(names)
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"{what}: {', '.join(found[:_NAMED])}{more}"
