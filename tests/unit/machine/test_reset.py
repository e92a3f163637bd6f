"""What a reset keeps, what it refuses, and the order in which the new state takes over."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from atoll.cli.main import main
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.own_var import MakeOwnVar, has_own_var, own_var, plan_take_over
from atoll.machine.deployments.state import read_state
from atoll.machine.fresh_start import can_anyone_log_in, keep_settings, list_people
from atoll.machine.reset import EARLY_BOOT_RESET
from tests.machines import PASSWD, Maker, write
from tests.unit.machine.etc_trees import Dir, Link, etc, shown

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.machine.deployments.sysroot import Sysroot

ADA = "ada:x:1000:1000:Ada:/home/ada:/bin/bash\n"


def test_what_makes_the_machine_reachable_is_kept_and_nothing_else() -> None:
    image = etc({"motd": "image", "passwd": PASSWD, "hosts": "image"})
    live = etc(
        {
            "motd": "mine",
            "passwd": PASSWD.split("sshd")[0] + ADA,
            "hosts": "mine",
            "hostname": "reef",
            "ssh/ssh_host_ed25519_key": "key",
            "ssh/sshd_config": "mine",
            "NetworkManager/system-connections/home.nmconnection": "psk",
            "systemd/system/multi-user.target.wants/ssh.service": Link("x"),
            "systemd/system/multi-user.target.wants/other.service": Link("x"),
            "atoll/machine.toml": "schema = 1",
            "empty": Dir(),
        }
    )
    kept = shown(keep_settings(live, image))
    assert kept == {
        "motd": "image",
        "passwd": PASSWD + ADA,
        "hosts": "mine",
        "hostname": "reef",
        "ssh/ssh_host_ed25519_key": "key",
        "NetworkManager/system-connections/home.nmconnection": "psk",
        "systemd/system/multi-user.target.wants/ssh.service": Link("x"),
    }


def test_people_and_their_passwords_are_known() -> None:
    passwd = f"{PASSWD}{ADA}x:x:1001:1001::/srv/x:/bin/sh\ny/z:x:1002:1002::/home/y/z:/bin/sh\n"
    assert list(list_people(etc({"passwd": passwd}))) == [("ada", 1000, 1000)]
    for shadow, can in (
        ("root:*:1\nada:!:1\n", False),
        ("root:*:1\nada:$y$x:1\n", True),
        ("root:$y$x:1\n", True),
        ("sshd:$y$x:1\n", False),
    ):
        assert can_anyone_log_in(etc({"passwd": passwd, "shadow": shadow})) is can


@pytest.fixture
def machine(tmp_path: Path) -> Sysroot:
    maker = Maker(tmp_path / "maker")
    machine = maker.install(tmp_path / "machine", maker.publish("1", {EARLY_BOOT_RESET: "#\n"}))
    write(machine.deployments / "1/etc/upper", {"motd": "mine\n", "passwd": PASSWD + ADA})
    write(machine.atoll / "var", {"home/ada/letter": "mine", "lib/x": "old"})
    return machine


def run(machine: Sysroot, *words: str) -> int:
    return main(["reset", *words, "--root", str(machine.root)])


def test_a_machine_that_nobody_could_use_afterwards_is_not_reset(
    machine: Sysroot, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(machine, "--yes") == 11
    assert "nobody could log in afterwards" in capsys.readouterr().err
    assert run(machine, "--dry-run", "--keep-home", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["etc"] == ["/etc/motd"]
    assert found["kept"] == ["/etc/passwd"]
    assert found["removed"] == [{"path": "/var", "files": 1, "size": 3}]


@pytest.mark.root
def test_it_shows_what_goes_and_wants_a_word(
    machine: Sysroot, capsys: pytest.CaptureFixture[str]
) -> None:
    write(machine.deployments / "1/etc/upper", {"shadow": "root:*:1::::::\nada:$y$x:1::::::\n"})
    assert run(machine) == 11
    captured = capsys.readouterr()
    assert "/home         1 file, 4 B" in captured.out and "    /etc/motd" in captured.out
    assert "no terminal" in captured.err
    assert [each.number for each in read_state(machine).deployments] == [1]
    assert run(machine, "--yes") == 0
    assert has_own_var(machine, 2)
    assert (own_var(machine, 2) / "home/ada").is_dir()
    # Nothing is made from a machine that is between two states.
    (machine.entries / "atoll-2+3.conf").rename(machine.entries / "atoll-2+2-1.conf")
    assert (machine.atoll / "var/home/ada/letter").read_text() == "mine"
    assert main(["cancel", "--root", str(machine.root)]) == 0
    assert not has_own_var(machine, 2)


def test_an_image_whose_early_boot_cannot_do_it_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maker = Maker(tmp_path / "maker")
    machine = maker.install(tmp_path / "machine", maker.publish("1"))
    assert run(machine, "--keep-home", "--yes") == 11
    assert "cannot reset machines" in capsys.readouterr().err


def test_taking_over_twice_is_taking_over_once(machine: Sysroot) -> None:
    apply_operations([MakeOwnVar(sysroot=machine, number=1, keep_home=True)])
    plan = plan_take_over(machine, 1)
    for _ in range(2):
        apply_operations(plan)
        assert (machine.atoll / "var/home/ada/letter").read_text() == "mine"
        assert not (machine.atoll / "var/lib").exists()
        assert not has_own_var(machine, 1)
