"""What needs a full reboot, and what a soft one is enough for."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Refused
from atoll.base.report import NullReporter
from atoll.cli.main import main
from atoll.machine.soft_reboot import check_soft_reboot, soft_reboot, systemd_reasons
from atoll.machine.upgrade import UpgradeRequest, upgrade
from tests.machines import Maker

if TYPE_CHECKING:
    from pathlib import Path

QUIET = NullReporter()
NEW = {"systemd": "257.8-1~deb13u2"}


@pytest.mark.parametrize(
    ("running", "target", "reason"),
    [
        (NEW, NEW, ""),
        (NEW, {"systemd": "254-1"}, ""),
        ({"systemd": "252.39-1~deb12u1"}, NEW, "the running system has systemd 252"),
        (NEW, {"systemd": "252.39-1~deb12u1"}, "the new system has systemd 252"),
        (NEW, {"bash": "5"}, "the new system has no known systemd"),
        (None, NEW, "the running system has no known systemd"),
    ],
)
def test_both_systemd_must_know_it(
    running: dict[str, str] | None, target: dict[str, str] | None, reason: str
) -> None:
    assert "; ".join(systemd_reasons(running, target)).startswith(reason)
    assert bool(reason) == bool(systemd_reasons(running, target))


@pytest.mark.root
def test_only_another_kernel_needs_a_full_reboot(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    machine = maker.install(tmp_path / "machine", maker.publish("1", packages=NEW))
    running = replace(machine, booted=1)
    # Another libc6 needs a reboot instead of a live change, but the kernel may stay.
    maker.publish("2", packages={**NEW, "libc6": "2"})
    upgrade(machine, UpgradeRequest(verb="upgrade"), QUIET)
    assert check_soft_reboot(running, 2) == ()
    assert "live already" in check_soft_reboot(replace(running, applied=2), 2)[0]
    maker.publish("3", packages=NEW, kernel="6.13-two")
    upgrade(machine, UpgradeRequest(verb="upgrade"), QUIET)
    assert check_soft_reboot(running, 3) == ("another kernel: 6.12-one → 6.13-two",)
    with pytest.raises(Refused, match="another kernel"):
        soft_reboot(running, 3, QUIET)


def test_a_machine_in_a_directory_is_not_restarted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if os.geteuid() == 0:
        maker = Maker(tmp_path)
        maker.install(tmp_path / "machine", maker.publish("1"))
        assert main(["upgrade", "--soft-reboot", "--root", str(tmp_path / "machine")]) == 11
        assert "only the running system" in capsys.readouterr().err
    assert main(["upgrade", "--soft-reboot", "--live"]) == 2
