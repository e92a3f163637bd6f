"""What everyone may know of a machine: the same as root sees, and no more than is printed."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import (
    AtollError,
    Damaged,
    MissingPrivilege,
    NoSpace,
    NotFound,
    NothingToDo,
    Refused,
)
from atoll.cli.main import main
from atoll.cli.status import as_json, format_state, next_step, warnings
from atoll.machine.deployments.beside import RECORD, BesideRecord, format_record
from atoll.machine.deployments.flags import Hold, set_hold
from atoll.machine.deployments.public_status import (
    format_public_status,
    parse_public_status,
    read_public_status,
)
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.write_status import publish_or_forget, write_status
from atoll.machine.public_plan import preview_public_upgrade
from atoll.machine.space import Space
from atoll.machine.upgrade import UpgradeRequest, preview_upgrade
from tests.machines import Maker, Published

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from atoll.machine.deployments.sysroot import Sysroot

SECRETS = {"etc/shadow": "root:$y$secret-hash:1::::::\n", "etc/key": "secret-key\n"}
BEFORE = {"bash": "5.2", "gone": "1"}


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


@pytest.fixture
def sysroot(maker: Maker, tmp_path: Path) -> Sysroot:
    image = maker.publish("1", SECRETS, packages=BEFORE)
    return maker.install(tmp_path / "machine", image)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "status.json"


def test_everyone_reads_the_same_status_as_root(sysroot: Sysroot, place: Path) -> None:
    state = read_state(sysroot)
    hold = Hold(deployment=1, version="1", why="it failed", when=3)
    set_hold(sysroot.state, state.deployments[0].deployment.tree, hold).execute()
    (sysroot.entries / "windows.conf").write_text("title Windows\n")
    (sysroot.deployments / "7").mkdir()
    write_status(sysroot, when=5, place=place)
    state, public = read_state(sysroot), read_public_status(place)
    assert public.when == 5
    assert as_json(public.state) == as_json(state)
    for told in (format_state, warnings):
        assert told(public.state) == told(state)
    assert next_step(sysroot, public.state) == next_step(sysroot, state)
    assert "it failed" in format_state(public.state)


def test_the_file_is_for_everyone_and_has_no_secrets(sysroot: Sysroot, place: Path) -> None:
    write_status(sysroot, when=5, place=place)
    assert stat.S_IMODE(place.stat().st_mode) == 0o644
    text = place.read_text()
    assert "secret" not in text
    known = {
        "format",
        "when",
        "booted",
        "follows",
        "layers",
        "deployments",
        "entries",
        "foreign",
        "damaged",
        "damaged_numbers",
        "held",
        "no_way_back",
        "beside",
        "key_slots",
        "signed",
        "unsigned",
    }
    assert set(json.loads(text)) == known


def test_everyone_sees_the_older_system_that_it_lives_beside(
    sysroot: Sysroot, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = BesideRecord(
        system="Debian GNU/Linux 13 (trixie)",
        esp="1-2",
        absent=(),
        times={},
        top_time=1,
        order=(),
        entries=(),
    )
    (sysroot.atoll / RECORD).write_bytes(format_record(record))
    write_status(sysroot, when=5, place=place)
    assert read_public_status(place).beside == "Debian GNU/Linux 13 (trixie)"
    assert main(["status", "--root", str(sysroot.root)]) == 0
    assert "beside Debian GNU/Linux 13 (trixie), which the boot menu" in capsys.readouterr().out
    assert main(["status", "--root", str(sysroot.root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["beside"] == "Debian GNU/Linux 13 (trixie)"
    # A damaged record says nothing, and hides nothing else.
    (sysroot.atoll / RECORD).write_text("{")
    assert main(["status", "--root", str(sysroot.root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["beside"] is None


def test_before_it_is_written_that_is_said(place: Path) -> None:
    with pytest.raises(NotFound, match="not written yet"):
        read_public_status(place)


def test_what_cannot_be_written_does_not_tell_what_was_before(
    sysroot: Sysroot, place: Path
) -> None:
    write_status(sysroot, when=5, place=place)
    (sysroot.atoll / "layers").write_text("no directory")
    publish_or_forget(sysroot, when=6, place=place)
    with pytest.raises(NotFound):
        read_public_status(place)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"",
        lambda _: b"[" * 100_000,
        lambda data: data.replace(b'"format": 1', b'"format": 2'),
        lambda data: data.replace(b'"number": 1', b'"number": "1"'),
        lambda data: data.replace(b'"follows": "', b'"follows": 1, "x": "'),
        lambda data: data.replace(b'"tree": "', b'"tree": "x'),
    ],
)
def test_another_file_is_no_status(
    spoil: Callable[[bytes], bytes], sysroot: Sysroot, place: Path
) -> None:
    write_status(sysroot, when=5, place=place)
    with pytest.raises(Damaged):
        parse_public_status(spoil(place.read_bytes()), where="status.json")


def test_everyone_may_plan_an_upgrade(
    maker: Maker, sysroot: Sysroot, place: Path, tmp_path: Path
) -> None:
    records = tmp_path / "records"
    records.mkdir()
    (records / "image.json").write_text('{"architecture": "amd64"}')
    rows = [[name, version, "amd64"] for name, version in BEFORE.items()]
    (records / "packages.json").write_text(json.dumps(rows))
    write_status(sysroot, when=5, place=place)
    public = read_public_status(place)
    upgrade_request = UpgradeRequest(verb="upgrade")
    with pytest.raises(NothingToDo, match="already the newest"):
        preview_public_upgrade(sysroot, public, upgrade_request, records)
    new = maker.publish("2", packages={"bash": "5.3", "htop": "3"})
    preview = preview_public_upgrade(sysroot, public, upgrade_request, records)
    assert preview.candidate.tree == new.tree and preview.candidate.title == "hello 2"
    assert preview.packages is not None and preview.obstacle is None
    assert preview.packages.changed == (("bash", "5.2", "5.3"),)
    assert preview.packages.added == (("htop", "3"),)
    assert preview.packages.removed == (("gone", "1"),)
    assert preview.candidate.fetch > 0 and preview.changed_here is None
    hold = Hold(deployment=1, version="2", why="it failed", when=3)
    held = {new.tree: hold}
    object.__setattr__(public.state, "held", held)
    assert isinstance(
        preview_public_upgrade(sysroot, public, upgrade_request, records).obstacle, Refused
    )


def test_no_plan_promises_what_the_verb_refuses(
    maker: Maker, sysroot: Sysroot, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade_request = UpgradeRequest(verb="upgrade")

    def obstacle() -> AtollError | None:
        write_status(sysroot, when=5, place=place)
        return preview_public_upgrade(sysroot, read_public_status(place), upgrade_request).obstacle

    new = maker.publish("2")
    assert obstacle() is None
    # Held after a rollback, and its deployment has gone.
    hold = Hold(deployment=7, version="2", why="it failed", when=3)
    mark = set_hold(sysroot.state, new.tree, hold)
    mark.execute()
    assert isinstance(obstacle(), Refused)
    assert isinstance(preview_upgrade(sysroot, upgrade_request).obstacle, Refused)
    mark.path.unlink()
    monkeypatch.setattr("atoll.machine.public_plan.measure_free", lambda _: Space(state=9, esp=9))
    assert isinstance(obstacle(), NoSpace)
    (sysroot.deployments / "1/deployment.json").write_text("noise")
    for plan in (obstacle, lambda: preview_upgrade(sysroot, upgrade_request)):
        with pytest.raises(Refused):
            plan()


def test_the_store_of_the_machine_is_roots_to_see(sysroot: Sysroot, place: Path) -> None:
    write_status(sysroot, when=5, place=place)
    for image in ("store:downloaded", "a" * 64):
        with pytest.raises(MissingPrivilege):
            preview_public_upgrade(
                sysroot, read_public_status(place), UpgradeRequest(verb="rebase", image=image)
            )


def test_a_machine_that_follows_no_image_says_so_to_everyone(
    maker: Maker, tmp_path: Path, place: Path
) -> None:
    tree = maker.publish("1").tree
    sysroot = maker.install(tmp_path / "other", Published(tree=tree, reference=""), follow=tree)
    write_status(sysroot, when=5, place=place)
    with pytest.raises(Refused, match="follows no image"):
        preview_public_upgrade(sysroot, read_public_status(place), UpgradeRequest(verb="upgrade"))


def test_nothing_is_lost_on_the_way(sysroot: Sysroot, place: Path) -> None:
    write_status(sysroot, when=5, place=place)
    data = place.read_bytes()
    assert format_public_status(parse_public_status(data, where="")) == data
