"""A live system, as verbs see it: which are refused, and what ``status`` says."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Damaged, UsageError
from atoll.base.report import NullReporter
from atoll.cli.main import main
from atoll.image.bootable import objects_of, read_bootable
from atoll.machine.boot.new_entry import LiveState, StatePartition, boot_options
from atoll.machine.deployment import Origin, make_deployment
from atoll.machine.deployments import public_status, sysroot
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.object_transfer import choose_transfer
from atoll.machine.deployments.state import read_origin, read_state
from atoll.machine.deployments.sysroot import LiveChanges, Sysroot, parse_live
from atoll.machine.disk_layout import (
    ESP_START,
    MIB,
    TABLE_END,
    DiskLayout,
    plan_installed_layout,
    plan_live_layout,
)
from atoll.machine.install import plan_install
from atoll.store.layout import open_store
from tests.unit.machine.small_image import make_store

if TYPE_CHECKING:
    from pathlib import Path

VERBS = (
    *("upgrade", "upgrade --check", "plan", "plan gc", "rebase oci:/x:1", "rollback", "cancel"),
    *("pin 1", "unpin 1", "gc", "health bless"),
)


@pytest.fixture
def live_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sysroot:
    """The machine that runs is a live system, whose state is in a directory."""
    machine = Sysroot(root=tmp_path / "sysroot", esp=tmp_path / "esp")
    store, tree = make_store(tmp_path / "store")
    machine.esp.mkdir()
    plan = plan_install(
        read_bootable(store, tree),
        Origin(image="docker://r.example/hello:1"),
        sysroot=machine,
        state=StatePartition(uuid="1-2", verity=False, live=LiveState()),
        contents=choose_transfer(open_store(machine.atoll, create=True), store),
        objects=tuple(objects_of(store, tree)),
    )
    apply_operations(plan, NullReporter())
    for name, text in (
        ("booted", f'{{"deployment": 1, "tree": "{tree}"}}\n'),
        ("live", "memory\n"),
    ):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sysroot, "BOOTED", tmp_path / "booted")
    monkeypatch.setattr(sysroot, "LIVE", tmp_path / "live")
    monkeypatch.setattr(sysroot, "RUNNING_SYSROOT", machine.root)
    monkeypatch.setattr(sysroot, "RUNNING_ESP", machine.esp)
    monkeypatch.setattr(public_status, "STATUS_FILE", tmp_path / "status.json")
    return machine


@pytest.mark.parametrize("words", VERBS)
def test_what_would_change_the_stick_is_refused(
    words: str, live_machine: Sysroot, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_state(live_machine)
    assert main(words.split()) == 11
    told = capsys.readouterr().err
    assert "this is a live system: its stick is never changed" in told
    assert "atoll install" in told
    assert read_state(live_machine) == before


def test_status_says_that_changes_are_lost(
    live_machine: Sysroot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert live_machine.deployments.is_dir()
    assert main(["status"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("live system, changes are lost at shutdown\n* 1   hello 1.2")
    assert "next: atoll install" in told.err
    assert "fallback" not in told.err and "NO WAY BACK" not in told.err
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["live"] == "memory"
    (tmp_path / "live").write_text("persistence\n")
    assert main(["status"]) == 0
    assert capsys.readouterr().out.startswith("live system, changes are kept on its stick\n")


def test_an_installed_system_is_not_a_live_one(
    live_machine: Sysroot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "live").unlink()
    assert live_machine.deployments.is_dir()
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["live"] is None


@pytest.mark.root
def test_a_live_system_installs_the_system_that_it_runs_and_follows_its_image(
    live_machine: Sysroot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree,) = (each.deployment.tree for each in read_state(live_machine).deployments)
    words = ["install", "--root", str(tmp_path / "target"), "--into-directory"]
    assert main(words) == 0, capsys.readouterr().err
    installed = Sysroot(root=tmp_path / "target", esp=tmp_path / "target/esp")
    (there,) = read_state(installed).deployments
    assert (there.deployment.tree, there.blessed) == (tree, False)
    assert read_origin(installed, 1).image == "docker://r.example/hello:1"


@pytest.mark.parametrize("data", [b"", b"disk\n", b"memory persistence", b"\xff"])
def test_what_early_boot_does_not_write_is_damage(data: bytes) -> None:
    assert parse_live(None) is None
    assert parse_live(b"memory\n") is LiveChanges.MEMORY
    with pytest.raises(Damaged):
        parse_live(data)


def test_the_entry_of_a_live_system_keeps_its_last_words_on_the_screen(tmp_path: Path) -> None:
    store, tree = make_store(tmp_path / "store")
    deployment = make_deployment(read_bootable(store, tree), 1)
    state = StatePartition(uuid="1-2", verity=True)
    installed = boot_options(deployment, state, ("quiet",))
    live = boot_options(deployment, replace(state, live=LiveState(persistence="3-4")), ("quiet",))
    assert installed[-2:] == ("panic=10", "quiet")
    assert live == (
        *installed[:-2],
        "atoll.live=1",
        "atoll.persistence=UUID=3-4",
        "quiet",
    )


def test_partitions_follow_one_another_in_whole_mebibytes() -> None:
    for layout in (
        plan_installed_layout(None, 5 * MIB),
        plan_live_layout(5 * MIB + 1, 3 * MIB, 0),
        plan_live_layout(3000 * MIB + 7, 200 * MIB, 1000 * MIB + 5),
    ):
        assert layout.state_start == ESP_START + layout.esp
        assert layout.size == layout.persistence_start + layout.persistence + TABLE_END
        assert not {layout.esp % MIB, layout.state % MIB, layout.persistence % MIB} - {0}
    with pytest.raises(UsageError, match="too small"):
        plan_live_layout(MIB, MIB, MIB)
    assert DiskLayout(esp=MIB, state=MIB).size == 4 * MIB


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--persistence", "4G"], "--persistence is for live systems"),
        (["--live", "--size", "8G"], "--size has no use"),
        (["--live", "--persistence", "much"], "is not a size"),
    ],
)
def test_options_that_do_not_fit(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["disk", "store:hello", "x.img", *words]) == 2
    assert told in capsys.readouterr().err
