"""``plan --operations`` prints what the verb then executes, in its order."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from atoll.base.report import NullReporter
from atoll.cli.main import main
from atoll.machine.deployments.apply import AUDIT_EVENT
from atoll.machine.health.bless import bless
from tests.machines import Maker, write

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.machine.deployments.sysroot import Sysroot

LISTENERS: list[list[str]] = []


def hear(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook stays until the process ends, so there is one for all tests."""
    if event == AUDIT_EVENT:
        for each in LISTENERS:
            each.append(str(arguments[0]))


sys.addaudithook(hear)


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "maker")


@pytest.fixture
def machine(maker: Maker, tmp_path: Path) -> Sysroot:
    """Three deployments that booted successfully, and settings of a person."""
    first = maker.publish("1", {"etc/motd": "one\n"})
    machine = maker.install(tmp_path / "machine", first)
    write(machine.deployments / "1/etc/upper", {"motd": "mine\n"})
    for number in (2, 3):
        maker.publish(str(number), {"etc/motd": f"{number}\n"}, kernel=f"6.1{number}-x")
        assert main(["upgrade", "--root", str(machine.root)]) == 0
        bless(machine, number, NullReporter())
    return machine


def planned(machine: Sysroot, words: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert main(["plan", *words, "--operations", "--root", str(machine.root)]) == 0
    return capsys.readouterr().out.splitlines()


def executed(machine: Sysroot, words: list[str]) -> list[str]:
    heard: list[str] = []
    LISTENERS.append(heard)
    try:
        assert main([*words, "--root", str(machine.root)]) == 0
    finally:
        LISTENERS.remove(heard)
    return heard


@pytest.mark.parametrize(
    "words",
    [
        ["upgrade"],
        ["rollback"],
        ["rollback", "1"],
        ["rollback", "2", "--keep-etc"],
        ["gc", "--keep", "1"],
        ["gc"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("interrupted", [False, True], ids=["", "after a power cut"])
def test_what_is_printed_is_what_is_executed(
    maker: Maker,
    machine: Sysroot,
    words: list[str],
    capsys: pytest.CaptureFixture[str],
    *,
    interrupted: bool,
) -> None:
    if words == ["upgrade"]:
        maker.publish("4", {"etc/motd": "four\n"}, kernel="6.14-x")
        assert main(["upgrade", "--download-only", "--root", str(machine.root)]) == 0
    if interrupted:
        write(machine.deployments / "new-9", {"origin.toml": "half"})
        write(machine.esp / "atoll" / ("0" * 64), {"linux": "left"})
    lines = planned(machine, words, capsys)
    assert lines == executed(machine, words)
    assert bool(lines) == (words != ["gc"] or interrupted)


def test_an_image_that_is_not_here_is_downloaded_first(
    maker: Maker, machine: Sysroot, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.publish("4", {"etc/motd": "four\n"}, kernel="6.14-x")
    assert main(["plan", "--operations", "--root", str(machine.root)]) == 11
    assert "atoll upgrade --download-only" in capsys.readouterr().err


def test_the_list_is_a_list_in_json(machine: Sysroot, capsys: pytest.CaptureFixture[str]) -> None:
    lines = planned(machine, ["rollback", "1"], capsys)
    assert (
        main(["plan", "rollback", "1", "--operations", "--json", "--root", str(machine.root)]) == 0
    )
    assert '"operations"' in capsys.readouterr().out
    assert any("boot entry" in line for line in lines)
