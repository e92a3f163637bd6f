"""The units of systems that Atoll makes, as text."""

from __future__ import annotations

from pathlib import Path

UNITS = Path(__file__).parents[2] / "system/usr/lib/systemd/system"


def test_nothing_that_a_boot_waits_for_may_take_for_ever() -> None:
    """systemd sets no limit to a oneshot service that names none, and nobody can log in before
    ``sysinit.target``."""
    texts = {unit.name: unit.read_text() for unit in UNITS.glob("*.service")}
    early = {name: text for name, text in texts.items() if "Before=sysinit.target" in text}
    assert {"atoll-caches.service", "atoll-identities.service"} <= early.keys()
    assert not [name for name, text in early.items() if "\nTimeoutStartSec=" not in text]
