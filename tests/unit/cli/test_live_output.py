"""What a live change says."""

from __future__ import annotations

from atoll.cli.output.live import live_as_json, live_lines
from atoll.machine.live.record import LiveResult
from atoll.machine.live.units import UnitPlan


def test_each_kind_of_unit_is_named_and_many_are_counted() -> None:
    many = tuple(f"u{number}.service" for number in range(12))
    units = UnitPlan(start=("new.socket",), restart=many, kept=(("dbus.service", "why\x1b"),))
    lines = live_lines(LiveResult(units=units, warnings=("it failed\nhere",)))
    assert lines[0] == "started: new.socket"
    assert lines[1].startswith("restarted: u0.service") and lines[1].endswith(" and 2 more")
    assert lines[2].startswith("dbus.service runs on as it was: why")
    assert lines[3].startswith("warning: it failed") and not any("\n" in line for line in lines)


def test_json_has_every_unit() -> None:
    found = live_as_json(LiveResult(units=UnitPlan(stop=("a",), kept=(("b", "c"),))))
    assert found == {
        "stop": ["a"],
        "start": [],
        "restart": [],
        "kept": [["b", "c"]],
        "warnings": [],
    }
