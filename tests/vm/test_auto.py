"""A machine updates itself as far as it may, and goes back from what nobody confirms."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from .image_registry import deployments, find_deployment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vmtest import Machine

    from .conftest import Ready
    from .image_registry import ImageRegistry

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network, pytest.mark.long]

WITH_NETWORK_MANAGER = {
    '    "nano",\n': '    "nano",\n    "network-manager",\n',
    '["systemd-networkd.service"]': '["NetworkManager.service"]',
}
LOG_IN = (
    "systemd-run --quiet --unit=at-work -p User=atoll -p PAMName=login"
    " -p Environment=XDG_SESSION_CLASS=user sleep infinity"
)
AN_HOUR_LATER = "unshare --time --boottime 3600 --fork"


@pytest.fixture
def machine(ready: Ready, registry: ImageRegistry, tmp_path: Path) -> Iterator[Machine]:
    with ready.following(registry, tmp_path) as machine:
        yield machine


def write_policy(machine: Machine, **keys: object) -> None:
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in keys.items())
    text = f"schema = 1\n[update]\n{lines}\n"
    machine.succeed("mkdir -p /etc/atoll")
    assert machine.run("cat > /etc/atoll/machine.toml", stdin=text.encode()).status == 0


def auto_status(machine: Machine) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(machine.succeed("atoll auto --json"))
    return found


def reasons(machine: Machine) -> set[str]:
    return {each["code"] for each in auto_status(machine)["reasons"]}


def test_it_updates_itself_unless_the_connection_costs_or_somebody_works(
    machine: Machine, registry: ImageRegistry
) -> None:
    registry.build("2", changes=WITH_NETWORK_MANAGER)
    assert auto_status(machine)["policy"]["auto"] == "none"
    assert machine.execute("atoll auto run")[0] == 77

    # The path unit sees the machine file, and the timer runs, without a reboot.
    write_policy(machine, auto="stage", window="Sun 03:00", delay=60, reserve=10)
    machine.wait_until_succeeds("systemctl is-active atoll-auto.timer", timeout=300)
    assert "Sun *-*-* 03:00:00" in machine.succeed("systemctl show atoll-auto.timer")
    status = auto_status(machine)
    assert status["source"] == "/etc/atoll/machine.toml" and status["next"] is not None

    machine.succeed("systemctl start atoll-auto.service", timeout=900)
    assert auto_status(machine)["ready"]["what"] == "staged"
    assert auto_status(machine)["last"]["outcome"] == "staged"
    login = machine.succeed("cat /run/motd.d/60-atoll-update")
    assert login.startswith("hello 2") and "next reboot" in login
    code, plan = machine.execute("atoll plan")
    assert code == 77 and plan.startswith("hello 1 (1) → hello 2 (2)\n") and "added" in plan

    machine.reboot()
    machine.wait_for_system()
    assert find_deployment(machine)["version"] == "2"
    machine.fail("test -e /run/motd.d/60-atoll-update")
    machine.wait_until_succeeds("systemctl is-active atoll-auto.timer", timeout=300)

    registry.build("3", changes=WITH_NETWORK_MANAGER)
    write_policy(machine, auto="reboot", reserve=10)
    machine.wait_until_succeeds("nmcli -t -f state general | grep '^connected'", timeout=300)
    connection = machine.succeed("nmcli -t -g NAME connection show --active").splitlines()[0]
    set_metered = f"nmcli connection modify '{connection}' connection.metered"
    machine.succeed(f"{set_metered} yes", f"nmcli connection up '{connection}'")
    assert "metered" in reasons(machine)
    assert machine.execute("atoll auto run")[0] == 77
    assert len(deployments(machine)) == 2

    machine.succeed(f"{set_metered} no", f"nmcli connection up '{connection}'", LOG_IN)
    machine.succeed("atoll auto run", timeout=900)
    assert deployments(machine)[0]["version"] == "3" and deployments(machine)[0]["staged"]
    # Somebody works here, and the machine was started just now: each alone is enough.
    assert {"login", "uptime"} <= reasons(machine)
    assert machine.execute(f"{AN_HOUR_LATER} atoll auto reboot")[0] == 77
    machine.succeed("systemctl stop at-work.service")
    machine.wait_until_fails("loginctl list-sessions --no-legend | grep atoll", timeout=300)
    # What was just staged kept the processor busy, and a busy machine is not rebooted either.
    machine.wait_until_succeeds("awk '{ exit !($1 < 0.5) }' /proc/loadavg", timeout=600)
    machine.succeed(f"systemd-run --quiet --no-block {AN_HOUR_LATER} atoll auto reboot")
    machine.wait_for_reboot(timeout=900)
    machine.wait_for_system()
    assert find_deployment(machine)["version"] == "3"
    assert machine.succeed("systemctl --failed --no-legend").strip() == ""


def test_a_version_must_be_confirmed_and_a_power_cut_does_not_confirm_it(
    machine: Machine, registry: ImageRegistry
) -> None:
    registry.build("4")
    machine.succeed("atoll upgrade --confirm 30m", timeout=900)
    assert machine.execute("atoll confirm")[0] == 77
    machine.reboot()
    for _ in range(2):
        machine.wait_for_system()
        status = json.loads(machine.succeed("atoll status --json"))
        assert 1000 < status["confirm"]["left"] <= 1800
        assert (
            find_deployment(machine)["version"] == "4" and not find_deployment(machine)["blessed"]
        )
        machine.succeed("systemctl is-active atoll-go-back.timer")
        assert machine.execute("atoll upgrade")[0] == 77
        machine.power_cut()
        machine.start()
    machine.wait_for_system()
    machine.succeed("atoll confirm")
    assert find_deployment(machine)["blessed"]
    assert json.loads(machine.succeed("atoll status --json"))["confirm"] is None
    machine.fail("systemctl is-active atoll-go-back.timer")
    assert machine.execute("atoll confirm")[0] == 77
    assert machine.execute("atoll upgrade")[0] == 77


def test_what_nobody_confirms_gives_way(machine: Machine, registry: ImageRegistry) -> None:
    registry.build("5")
    machine.succeed("atoll upgrade --confirm 30s", timeout=900)
    machine.reboot()
    machine.wait_for_reboot(timeout=900)
    machine.wait_for_system()
    state = {each["version"]: each for each in deployments(machine)}
    assert state["1"]["booted"] and state["1"]["default"] and state["5"]["held"]
    told = machine.succeed("cat /run/motd.d/50-atoll")
    assert "hello 5 (2) was not confirmed within 30 s" in told
    assert machine.execute("atoll upgrade")[0] == 11
