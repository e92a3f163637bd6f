"""Machine file, lock and system agree after every way back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from atoll.base.report import NullReporter
from atoll.cli.main import main
from atoll.machine.cancel import cancel
from atoll.machine.cleanup import clean_up
from atoll.machine.deployment import MachineFiles, Origin
from atoll.machine.deployments.built_from import list_layers, read_machine_files
from atoll.machine.deployments.layer_report import (
    DroppedLayer,
    LayerReport,
    write_layer_report,
)
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.state import read_origin, read_state
from atoll.machine.restore_machine_file import plan_restore_machine_file
from atoll.machine.stage_image import stage_image
from atoll.machine.staging import StageRequest
from atoll.machine.upgrade import check_upgrade, download_candidate
from tests.machines import Maker, check_machine
from tests.unit.machine.test_upgrade import UPGRADE, back, bless, set_setting, settings

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.machine.deployments.sysroot import Sysroot

pytestmark = pytest.mark.root

TEXT = 'schema = 1\n[packages]\ninstall = ["htop"]\nremove = ["nano"]\n[kernel]\nargs = ["quiet"]\n'
PLACE, LOCK, OLD = "atoll/machine.toml", "atoll/machine.lock", "atoll/machine.toml.old"


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "maker")


@pytest.fixture
def machine(maker: Maker, tmp_path: Path) -> Sysroot:
    return maker.install(tmp_path / "machine", maker.publish("1"))


def add_layers(machine: Sysroot, maker: Maker) -> int:
    """Stage another tree, as if the machine file had made it of the first one."""
    maker.publish("2")
    with locked_machine(machine) as locked:
        state = clean_up(locked, NullReporter())
        candidate = download_candidate(locked, state, UPGRADE, NullReporter())
        assert state.default is not None
        request = StageRequest(
            verb="add",
            tree=candidate.tree,
            origin=Origin(image=candidate.origin.image, base=state.default.deployment.tree),
            machine=MachineFiles(text=TEXT.encode(), lock=b"the lock"),
        )
        number = stage_image(locked, state, request, NullReporter()).deployment.number
    check_machine(machine)
    return number


def test_both_have_the_file_and_the_new_one_keeps_it(maker: Maker, machine: Sysroot) -> None:
    number = add_layers(machine, maker)
    for each in (1, number):
        assert settings(machine, each, PLACE) == TEXT
        assert settings(machine, each, LOCK) == "the lock"
    assert read_machine_files(machine, 1) is None
    files = read_machine_files(machine, number)
    assert files == MachineFiles(text=TEXT.encode(), lock=b"the lock")
    first = read_state(machine).find(1)
    assert first is not None
    assert read_origin(machine, number).base == first.deployment.tree
    assert list_layers(machine, number) == ("htop", "-nano", "[kernel]")
    # The image that the layers are on is followed: its next version is found, not this one.
    assert check_upgrade(machine, UPGRADE).version == "2"


def test_cancel_takes_the_file_back(maker: Maker, machine: Sysroot) -> None:
    add_layers(machine, maker)
    cancel(machine, NullReporter())
    check_machine(machine)
    assert settings(machine, 1, PLACE) is None
    assert settings(machine, 1, LOCK) is None
    assert settings(machine, 1, OLD) == TEXT


def test_a_rollback_takes_the_file_back(maker: Maker, machine: Sysroot) -> None:
    number = add_layers(machine, maker)
    bless(machine, number)
    assert back(machine) == 1
    assert settings(machine, 1, PLACE) is None
    assert settings(machine, number, PLACE) == TEXT
    assert back(machine, f"number:{number}") == number
    assert settings(machine, number, PLACE) == TEXT


def test_a_rollback_that_keeps_etc_takes_the_file_back(maker: Maker, machine: Sysroot) -> None:
    number = add_layers(machine, maker)
    bless(machine, number)
    set_setting(machine, number, "motd", "mine\n")
    third = back(machine, "1", keep_etc=True)
    assert settings(machine, third, "motd") == "mine\n"
    assert settings(machine, third, PLACE) is None
    assert read_machine_files(machine, third) is None


def test_what_a_person_changed_since_stays(maker: Maker, machine: Sysroot) -> None:
    add_layers(machine, maker)
    set_setting(machine, 1, PLACE, f"{TEXT}# and more\n")
    cancel(machine, NullReporter())
    assert settings(machine, 1, PLACE) == f"{TEXT}# and more\n"


def test_the_lock_comes_back_with_the_same_file(maker: Maker, machine: Sysroot) -> None:
    """An upgrade moves the lock, and leaves the machine file as it is."""
    number = add_layers(machine, maker)
    bless(machine, number)
    stage_again(machine, number, MachineFiles(text=TEXT.encode(), lock=b"a newer lock"))
    assert settings(machine, number, LOCK) == "a newer lock"
    cancel(machine, NullReporter())
    assert settings(machine, number, PLACE) == TEXT
    assert settings(machine, number, LOCK) == "the lock"
    assert settings(machine, number, OLD) is None


def test_a_file_comes_back_where_the_other_one_has_none(maker: Maker, machine: Sysroot) -> None:
    number = add_layers(machine, maker)
    bless(machine, number)
    running = replace(machine, booted=number)
    back(running, "1", keep_etc=True)
    assert settings(machine, number, PLACE) is None
    cancel(running, NullReporter())
    assert settings(machine, number, PLACE) == TEXT
    assert settings(machine, number, LOCK) == "the lock"


def test_a_file_without_layers_is_that_of_an_image_too(maker: Maker, machine: Sysroot) -> None:
    """Another deployment has the same file as a copy: this one has no copy, and still agrees."""
    text = "schema = 1\n[keep]\ndeployments = 5\n"
    add_layers(machine, maker)
    stage_again(machine, 1, MachineFiles(text=text.encode(), lock=b""))
    set_setting(machine, 1, PLACE, text)
    assert plan_restore_machine_file(machine, 1) == ()


def test_settings_of_the_machine_alone_stay_in_todays_etc(maker: Maker, machine: Sysroot) -> None:
    """They are in no conflict with the tree of an image; a file with layers stays beside."""
    number = add_layers(machine, maker)
    bless(machine, number)
    running = replace(machine, booted=number)
    text = "schema = 1\n[keep]\ndeployments = 5\n"
    set_setting(machine, number, PLACE, text)
    third = back(running, "1", keep_etc=True)
    assert settings(machine, third, PLACE) == text
    set_setting(machine, number, PLACE, TEXT)
    fourth = back(running, "1", keep_etc=True)
    assert settings(machine, fourth, PLACE) is None
    assert settings(machine, fourth, OLD) == TEXT


def stage_again(machine: Sysroot, number: int, files: MachineFiles) -> None:
    """Stage the tree of deployment ``number`` once more, made from ``files``."""
    with locked_machine(machine) as locked:
        state = clean_up(locked, NullReporter())
        found = state.find(number)
        assert found is not None
        request = StageRequest(
            verb="upgrade",
            tree=found.deployment.tree,
            origin=read_origin(machine, number),
            machine=files,
        )
        stage_image(locked, state, request, NullReporter())
    check_machine(machine)


def test_status_says_what_no_longer_fits(
    maker: Maker, machine: Sysroot, capsys: pytest.CaptureFixture[str]
) -> None:
    add_layers(machine, maker)
    layer = DroppedLayer(package="", reason="htop is not there")
    write_layer_report(machine.state, LayerReport(image="hello 3", held=True, layers=(layer,)))
    assert main(["status", "--root", str(machine.root)]) == 0
    told = capsys.readouterr()
    assert "with   htop, -nano, [kernel]" in told.out
    assert "UPGRADES ARE HELD: the machine file does not fit hello 3" in told.err
    assert "htop is not there" in told.err
    layer = DroppedLayer(package="htop", reason="gone")
    write_layer_report(machine.state, LayerReport(image="hello 3", held=False, layers=(layer,)))
    main(["status", "--root", str(machine.root)])
    assert "left out at the last upgrade: htop: gone" in capsys.readouterr().err
    (machine.state / "layers.json").write_text("{")
    main(["status", "--root", str(machine.root)])
    assert "damaged: " in capsys.readouterr().err
