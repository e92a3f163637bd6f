"""Read the facts that decide about an automatic update.

Who is logged in and who asks not to shut down comes from systemd-logind, whether the connection
costs money from NetworkManager, both over D-Bus; power from ``/sys/class/power_supply``. Everybody
may read all of it. Where no NetworkManager runs, no connection counts as metered.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError
from atoll.machine.auto import bus
from atoll.machine.auto.decide import AutoFacts, Inhibitor, Login
from atoll.machine.deployments.confirmation import read_waiting

if TYPE_CHECKING:
    from atoll.machine.deployments.state import MachineState
    from atoll.machine.deployments.sysroot import Sysroot

POWER = Path("/sys/class/power_supply")
_NETWORK_MANAGER = "org.freedesktop.NetworkManager"
_METERED = {1: True, 2: False, 3: True, 4: False}
"""NMMetered: yes, no, and what NetworkManager guesses, such as for a phone's hotspot."""
_LOGIND = "org.freedesktop.login1"
_LOGIND_PATH = "/org/freedesktop/login1"
_LOGIND_MANAGER = "org.freedesktop.login1.Manager"
_BLOCKING = ("block", "block-weak")
_LONGEST = 200
"""Characters of the words of a program that asks not to be shut down."""


def read_auto_facts(sysroot: Sysroot, state: MachineState) -> AutoFacts:
    """The facts of the running machine. What cannot be read is in ``unknown``."""
    unknown: list[str] = []
    default = state.default
    # What a live change made the running system needs no reboot.
    other = default is not None and not (default.booted or default.running)
    boots_next = default.deployment.title if default is not None and other else ""
    waiting = read_waiting()
    free = os.statvfs(sysroot.root)
    return AutoFacts(
        boots_next=boots_next,
        unconfirmed=waiting.title if waiting is not None else "",
        metered=read_metered(unknown),
        on_battery=is_on_battery(),
        load=os.getloadavg()[1] / (os.cpu_count() or 1),
        logins=read_logins(unknown),
        inhibitors=read_inhibitors(unknown),
        free=free.f_bavail * free.f_frsize,
        uptime=time.clock_gettime(time.CLOCK_BOOTTIME),
        unknown=tuple(unknown),
    )


def read_metered(unknown: list[str]) -> bool | None:
    """Whether the connection is metered, by NetworkManager; None where it does not know."""
    try:
        if not bus.is_running(_NETWORK_MANAGER):
            return None
        found = bus.read_property(
            _NETWORK_MANAGER, "/org/freedesktop/NetworkManager", _NETWORK_MANAGER, "Metered"
        )
    except (AtollError, OSError) as error:
        unknown.append(f"NetworkManager does not say whether the connection is metered: {error}")
        return None
    return _METERED.get(found) if isinstance(found, int) else None


def is_on_battery(directory: Path = POWER) -> bool:
    """Whether the machine runs on its battery, as systemd's ``ConditionACPower`` decides.

    A battery must discharge, and no power supply may be online. Batteries of devices such as mice
    do not count.
    """
    discharging = False
    for supply in sorted(directory.iterdir()) if directory.is_dir() else ():
        kind = _read(supply / "type")
        if _read(supply / "scope") == "Device":
            continue
        if kind == "Battery":
            discharging |= _read(supply / "status") == "Discharging"
        elif _read(supply / "online") not in ("", "0"):
            return False
    return discharging


def _read(path: Path) -> str:
    """The content of a file of sysfs; empty when it is not there."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def read_logins(unknown: list[str]) -> tuple[Login, ...]:
    """The sessions of people. Greeters, and sessions that are being closed, are none."""
    try:
        paths = [
            row[4]
            for row in bus.rows(
                bus.call(_LOGIND, _LOGIND_PATH, _LOGIND_MANAGER, "ListSessions"), width=5
            )
        ]
        sessions = [
            bus.read_properties(_LOGIND, str(path), "org.freedesktop.login1.Session")
            for path in paths
        ]
    except (AtollError, OSError) as error:
        unknown.append(f"systemd-logind does not say who is logged in: {error}")
        return ()
    return tuple(login for each in sessions if (login := parse_session(each)) is not None)


def parse_session(properties: dict[str, object]) -> Login | None:
    """The login of a session with these properties; None if no person is logged in there."""
    if not str(properties.get("Class", "user")).startswith("user"):
        return None
    if properties.get("State") == "closing":
        return None
    seat = properties.get("Seat")
    places = (
        properties.get("RemoteHost"),
        properties.get("TTY"),
        seat[0] if isinstance(seat, list) and seat else None,
    )
    where = next((str(place) for place in places if place), "")
    return Login(user=str(properties.get("Name", "somebody")), where=where)


def read_inhibitors(unknown: list[str]) -> tuple[Inhibitor, ...]:
    """The programs that asked not to be shut down now."""
    try:
        found = bus.call(_LOGIND, _LOGIND_PATH, _LOGIND_MANAGER, "ListInhibitors")
    except (AtollError, OSError) as error:
        unknown.append(f"systemd-logind does not say who must not be shut down: {error}")
        return ()
    return tuple(
        Inhibitor(who=str(who)[:_LONGEST], why=str(why)[:_LONGEST])
        for what, who, why, mode in (row[:4] for row in bus.rows(found, width=4))
        if mode in _BLOCKING and "shutdown" in str(what).split(":")
    )
