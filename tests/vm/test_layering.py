"""A package is added to a running machine, goes along with an upgrade, and is removed again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .image_registry import deployments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vmtest import Machine

    from .conftest import Ready
    from .image_registry import ImageRegistry

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network, pytest.mark.long]

NEW = """
[[file]]
path = "/etc/two.conf"
text = "two\\n"
"""
PATIENCE = 1800
"""Seconds; a machine without KVM resolves and installs packages slowly."""


@pytest.fixture(scope="module")
def machine(
    ready: Ready, registry: ImageRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    place: Path = tmp_path_factory.mktemp("machine")
    with ready.machine(place) as machine:
        registry.configure(machine)
        yield machine


def booted(machine: Machine) -> dict[str, object]:
    (found,) = [each for each in deployments(machine) if each["booted"]]
    return found


def test_what_is_added_is_there_after_a_reboot(machine: Machine) -> None:
    machine.fail("command -v htop")
    told = machine.succeed("atoll add htop 2>&1", timeout=PATIENCE)
    assert "added    htop " in told and "to take it back later: atoll remove htop" in told
    machine.fail("command -v htop")
    assert 'install = ["htop"]' in machine.succeed("cat /etc/atoll/machine.toml")
    machine.reboot()
    machine.wait_for_system()
    assert machine.succeed("htop --version").startswith("htop ")
    assert booted(machine)["layers"] == ["htop"]
    assert machine.succeed("dpkg --list htop | tail -1").startswith("ii")
    assert machine.succeed("systemctl --failed --no-legend").strip() == ""
    machine.succeed("systemctl is-active boot-complete.target")


def test_it_goes_along_with_an_upgrade(machine: Machine, registry: ImageRegistry) -> None:
    registry.build("2", NEW)
    machine.succeed("atoll upgrade", timeout=PATIENCE)
    machine.reboot()
    machine.wait_for_system()
    assert machine.succeed("cat /etc/two.conf") == "two\n"
    machine.succeed("htop --version")
    found = booted(machine)
    assert found["version"] == "2" and found["layers"] == ["htop"]


def test_removed_it_is_the_image_again(machine: Machine) -> None:
    machine.succeed("atoll remove htop", timeout=PATIENCE)
    machine.reboot()
    machine.wait_for_system()
    machine.fail("command -v htop")
    assert booted(machine)["layers"] == []
    assert "htop" not in machine.succeed("cat /etc/atoll/machine.toml")


def test_live_it_is_there_at_once_and_gone_again(machine: Machine) -> None:
    boot = machine.succeed("cat /proc/sys/kernel/random/boot_id")
    told = machine.succeed("atoll add --live htop 2>&1", timeout=PATIENCE)
    assert "runs now, and boots next" in told
    machine.succeed("htop --version")
    assert machine.succeed("systemctl --failed --no-legend").strip() == ""
    machine.succeed("atoll apply --live --undo", timeout=PATIENCE)
    machine.fail("command -v htop")
    assert machine.succeed("cat /proc/sys/kernel/random/boot_id") == boot
