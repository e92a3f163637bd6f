"""A package is added to a running machine, goes along with an upgrade, and is removed again: what
``docs/tutorial/living-on-it.md`` says, command by command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .image_registry import TWO, find_deployment

if TYPE_CHECKING:
    from vmtest import Machine

    from .image_registry import ImageRegistry

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network, pytest.mark.long]

PAGE = Path(__file__).parents[2] / "docs/tutorial/living-on-it.md"
PATIENCE = 1800
"""Seconds; a machine without KVM resolves and installs packages slowly."""


def section(number: int) -> str:
    """A section of the page."""
    parts = re.split(r"^## ([0-9])\. .*$", PAGE.read_text(), flags=re.MULTILINE)
    return parts[parts.index(str(number)) + 1]


def follow(machine: Machine, number: int, *, fails_before_reboot: str = "false") -> dict[str, str]:
    """What each command of a section printed; the output that the page shows is below it there."""
    said: dict[str, str] = {}
    for command in re.findall(r"^# ((?:atoll|cat|systemctl) .*)$", section(number), re.MULTILINE):
        if command == "systemctl reboot":
            machine.fail(fails_before_reboot)
            machine.reboot()
            machine.wait_for_system()
            said[command] = ""
        else:
            said[command] = machine.succeed(f"{command} 2>&1", timeout=PATIENCE)
    return said


def test_it_is_found(machine: Machine) -> None:
    (found,) = follow(machine, 1).values()
    # What the download says comes before it.
    assert "\n  htop " in found


def test_what_is_added_is_there_after_a_reboot(machine: Machine) -> None:
    machine.fail("command -v htop")
    said = follow(machine, 2, fails_before_reboot="command -v htop")
    assert list(said) == [
        "atoll plan add htop",
        "atoll add htop",
        "systemctl reboot",
        "atoll status",
    ]
    assert (
        "+ htop " in said["atoll plan add htop"] and "1 package to" in said["atoll plan add htop"]
    )
    told = said["atoll add htop"]
    assert "added    htop " in told and "to take it back later: atoll remove htop" in told
    assert "      with   htop\n" in said["atoll status"]
    assert machine.succeed("htop --version").startswith("htop ")
    assert find_deployment(machine)["layers"] == ["htop"]
    assert machine.succeed("dpkg --list htop | tail -1").startswith("ii")
    assert machine.succeed("systemctl --failed --no-legend").strip() == ""
    machine.succeed("systemctl is-active boot-complete.target")
    (text,) = follow(machine, 3).values()
    assert f"# cat /etc/atoll/machine.toml\n{text}```" in section(3)


def test_it_goes_along_with_an_upgrade(machine: Machine, registry: ImageRegistry) -> None:
    registry.build("2", TWO)
    follow(machine, 4)
    assert machine.succeed("cat /etc/two.conf") == "two\n"
    machine.succeed("htop --version")
    found = find_deployment(machine)
    assert found["version"] == "2" and found["layers"] == ["htop"]


def test_removed_it_is_the_image_again(machine: Machine) -> None:
    follow(machine, 5)
    machine.fail("command -v htop")
    assert find_deployment(machine)["layers"] == []
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
