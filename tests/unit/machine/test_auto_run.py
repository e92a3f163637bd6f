"""An automatic update of a machine in a directory: how far it goes, and what it says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from atoll.base.report import NullReporter
from atoll.cli.output.upgrade import format_staged
from atoll.machine.auto.decide import MEGABYTE, AutoFacts
from atoll.machine.auto.last_run import AutoOutcome
from atoll.machine.auto.run import update_machine
from atoll.machine.deployments.state import read_state
from atoll.machine.rollback import rollback
from atoll.machine.upgrade import preview_staged
from atoll.recipe.model import Update
from tests.machines import Maker, check_machine

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.root

GOOD = AutoFacts(free=10_000 * MEGABYTE)


def test_each_step_goes_as_far_as_it_may_and_no_further(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "maker")
    machine = maker.install(tmp_path / "machine", maker.publish("1"))

    def run(auto: str, facts: AutoFacts = GOOD) -> tuple[AutoOutcome, str]:
        result = update_machine(machine, facts, Update(auto=auto), NullReporter())
        return result.outcome, result.text

    assert run("stage")[0] is AutoOutcome.CURRENT
    maker.publish("2", packages={"bash": "5.3"})
    assert run("check") == (AutoOutcome.AVAILABLE, "hello 2 is available")
    assert not (machine.atoll / "refs/downloaded.json").exists()
    on_battery = run("stage", replace(GOOD, on_battery=True))
    assert on_battery[1] == "hello 2 is available; not further: the machine runs on battery"
    small = run("download", replace(GOOD, free=515 * MEGABYTE))
    assert small[0] is AutoOutcome.AVAILABLE and "hello 2 would leave " in small[1]
    assert run("download") == (AutoOutcome.DOWNLOADED, "hello 2 is downloaded")
    assert (machine.atoll / "refs/downloaded.json").exists()
    assert len(read_state(machine).deployments) == 1
    assert run("reboot") == (AutoOutcome.STAGED, "hello 2 is staged")
    assert run("stage")[0] is AutoOutcome.CURRENT
    running = replace(machine, booted=1)
    staged, packages = preview_staged(running, read_state(running))
    assert staged is not None and packages is not None
    told = format_staged(staged.deployment.title, "hello 1 (1)", packages)
    assert told.startswith("hello 1 (1) → hello 2 (2)\n") and "bash 5.2 → 5.3" in told
    rollback(machine, "1", NullReporter(), keep_etc=False)
    held = run("stage")
    assert held[0] is AutoOutcome.NOT_NOW and "is held on this machine" in held[1]
    check_machine(machine)
