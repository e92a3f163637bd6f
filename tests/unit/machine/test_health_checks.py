"""The checks of a boot: which ones run, what they say, and what is noted of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import Damaged
from atoll.machine.health.checks import (
    ESSENTIAL,
    TARGET,
    Check,
    HealthResult,
    check_units,
    find_checks,
    find_watchdog,
    format_health,
    parse_health,
    parse_units,
    read_health,
    run_check,
    write_health,
)

if TYPE_CHECKING:
    from pathlib import Path

GOOD = Check(name="disk", passed=True)
BAD = Check(name="web", passed=False, detail="exit status 1")


def program(path: Path, body: str = "true", *, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(mode)
    return path


def test_checks_are_sorted_and_those_of_the_machine_shadow_the_images(tmp_path: Path) -> None:
    shipped, local = tmp_path / "usr", tmp_path / "etc"
    for name in ("30-c", "10-a", "20-b", ".hidden"):
        program(shipped / name)
    mine = program(local / "20-b")
    program(local / "10-a", mode=0o644)
    (local / "30-c").symlink_to("/dev/null")
    last = program(local / "40-d")
    assert find_checks(shipped, local) == (mine, last)
    assert find_checks(tmp_path / "none", tmp_path / "none") == ()


def test_a_check_says_why_it_failed(tmp_path: Path) -> None:
    assert run_check(program(tmp_path / "good")) == Check(name="good", passed=True)
    bad = run_check(program(tmp_path / "bad", "echo no shop >&2; exit 3"))
    assert bad == Check(name="bad", passed=False, detail="exit status 3: no shop")
    silent = run_check(program(tmp_path / "silent", "exit 1"))
    assert silent.detail == "exit status 1"


def test_a_check_that_hangs_is_ended(tmp_path: Path) -> None:
    check = run_check(program(tmp_path / "slow", "sleep 60"), seconds=1)
    assert check == Check(name="slow", passed=False, detail="it took longer than 1 s")


def test_units_decide() -> None:
    states = {TARGET: "active", "dbus.service": "active", "display-manager.service": "inactive"}
    assert all(check.passed for check in check_units(states))
    reached, essential = check_units({TARGET: "inactive", "dbus.service": "failed"})
    assert (reached.passed, reached.detail) == (False, "it is inactive")
    assert (essential.passed, essential.detail) == (False, "failed: dbus.service")


def test_what_systemctl_says_is_read_in_order() -> None:
    assert parse_units((TARGET, *ESSENTIAL[:2]), "active\n\nfailed\n\ninactive\n") == {
        TARGET: "active",
        ESSENTIAL[0]: "failed",
        ESSENTIAL[1]: "inactive",
    }


def test_a_boot_is_marked_healthy_or_not(tmp_path: Path) -> None:
    assert read_health(tmp_path) is None
    bad = HealthResult(when=1, checks=(GOOD, BAD))
    write_health(bad, tmp_path)
    assert read_health(tmp_path) == bad
    assert not (tmp_path / "healthy").exists()
    assert (tmp_path / "unhealthy").read_text() == "health check web failed: exit status 1\n"
    write_health(HealthResult(when=2, checks=(GOOD,)), tmp_path)
    assert (tmp_path / "healthy").exists() and not (tmp_path / "unhealthy").exists()


@given(
    st.builds(
        HealthResult,
        when=st.integers(0, 10**10),
        checks=st.lists(
            st.builds(Check, name=st.text(), passed=st.booleans(), detail=st.text())
        ).map(tuple),
    )
)
def test_results_are_read_as_they_were_written(health: HealthResult) -> None:
    assert parse_health(format_health(health)) == health


@given(st.binary())
def test_no_bytes_make_reading_results_fail_otherwise(data: bytes) -> None:
    with pytest.raises(Damaged):
        parse_health(data)


def test_a_watchdog_is_found_by_its_name(tmp_path: Path) -> None:
    assert find_watchdog(tmp_path) is None
    (tmp_path / "watchdog1").mkdir()
    assert find_watchdog(tmp_path) == "watchdog1"
    (tmp_path / "watchdog0").mkdir()
    (tmp_path / "watchdog0/identity").write_text("i6300ESB timer\n")
    assert find_watchdog(tmp_path) == "i6300ESB timer"
