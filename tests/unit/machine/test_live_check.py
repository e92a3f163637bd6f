"""What can go live, and what needs a reboot: each reason, alone and by its words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.machine.live.check import MachineFacts, TreeFacts, plan_live

RUNNING = TreeFacts(
    kernel="6.12.48",
    arguments=("quiet",),
    pair="ab cd",
    packages={"libc6": "2.41-12", "systemd": "257.8-1", "dbus": "1.16.2-2", "bash": "5.2"},
    modules={"ext4": "aa", "wireguard": "bb"},
    top=frozenset({"usr", "etc"}),
)
LOADED = MachineFacts(loaded=frozenset({"ext4", "unknown"}))


def packages(**changed: str) -> TreeFacts:
    return replace(RUNNING, packages={**(RUNNING.packages or {}), **changed})


def test_the_same_and_a_tree_of_which_little_is_known_can_go_live() -> None:
    assert plan_live(RUNNING, RUNNING, LOADED) == ()
    assert plan_live(RUNNING, TreeFacts(kernel="6.12.48"), LOADED) == ()


@pytest.mark.parametrize(
    "target",
    [
        packages(bash="5.3", htop="3.4"),
        packages(libc6="2.41-12+deb13u1"),
        packages(systemd="257.9-1~deb13u1"),
        packages(dbus="1.16.4-1"),
        replace(RUNNING, modules={"ext4": "aa", "wireguard": "changed"}),
    ],
)
def test_what_running_programs_can_live_with(target: TreeFacts) -> None:
    assert plan_live(RUNNING, target, LOADED) == ()


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (replace(RUNNING, kernel="6.12.57"), "another kernel: 6.12.48 → 6.12.57"),
        (replace(RUNNING, pair="ab ef"), "another initrd or another build of the kernel"),
        (replace(RUNNING, arguments=("quiet", "nosmt")), "other kernel arguments: nosmt"),
        (
            replace(RUNNING, modules={"wireguard": "bb"}),
            "other kernel modules that are in use: ext4",
        ),
        (packages(libc6="2.42-1"), "another libc6: 2.41-12 → 2.42-1"),
        (packages(systemd="258-1"), "another systemd: 257.8-1 → 258-1"),
        (packages(dbus="1.18.0-1"), "another dbus: 1.16.2-2 → 1.18.0-1"),
        (packages(**{"dbus-broker": "36-1"}), "dbus-broker is added"),
        (replace(RUNNING, top=frozenset({"usr", "etc", "nix"})), "other directories in /: nix"),
    ],
)
def test_what_a_tree_needs_a_reboot_for(target: TreeFacts, reason: str) -> None:
    assert plan_live(RUNNING, target, LOADED) == (reason,)


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        (MachineFacts(unfinished=True), "another live change is not finished"),
        (
            MachineFacts(scratch=True),
            "/usr has a scratch overlay; to remove it: atoll scratch --discard",
        ),
        (MachineFacts(mounts=("/etc/pve",)), "something else is mounted at: /etc/pve"),
        (
            MachineFacts(conflicts=("a", "b", "c", "d")),
            "conflicts in /etc: /etc/a, /etc/b, /etc/c and 1 more",
        ),
    ],
)
def test_what_the_machine_has_in_the_way(machine: MachineFacts, reason: str) -> None:
    assert plan_live(RUNNING, RUNNING, machine) == (reason,)


def test_all_reasons_are_said_at_once() -> None:
    found = plan_live(
        RUNNING, packages(libc6="2.42-1", systemd="258-1"), MachineFacts(scratch=True)
    )
    assert len(found) == 3
