"""The way back: what no verb takes away, what a rollback never goes to, and what stays because it
could not be read."""

from __future__ import annotations

import errno
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import AtollError, NoSpace, NotFound, NothingToDo, Refused, UsageError
from atoll.base.report import NullReporter
from atoll.cli.main import main
from atoll.host.fs import space_errors
from atoll.machine.boot.boot_entry import EntryName, format_entry_name
from atoll.machine.cancel import cancel
from atoll.machine.cleanup import plan_removal
from atoll.machine.deployments.boot_check import verifier
from atoll.machine.deployments.boot_history import record_boot
from atoll.machine.deployments.history import BOOT, HistoryEvent, RecordEvent, read_history
from atoll.machine.deployments.leftovers import list_leftovers
from atoll.machine.deployments.operations import RemoveDeployment, RemoveFromEsp
from atoll.machine.deployments.plan_check import check_plan
from atoll.machine.deployments.retention import choose_removal
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.way_back import explain_no_way_back
from atoll.machine.etc.etc_commands import read_machine_etc
from atoll.machine.etc.etc_tree import is_file
from atoll.machine.gc import collect_garbage
from atoll.machine.pin import set_pin
from atoll.machine.rollback import rollback
from atoll.machine.upgrade import UpgradeRequest, upgrade
from tests.machines import Maker, check_machine, objects_there, write
from tests.wayback_checker import ways_back

if TYPE_CHECKING:
    from atoll.machine.deployments.sysroot import Sysroot

pytestmark = pytest.mark.root

UPGRADE = UpgradeRequest(verb="upgrade")
QUIET = NullReporter()


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "maker")


@pytest.fixture
def machine(maker: Maker, tmp_path: Path) -> Sysroot:
    """Versions v1 and v2 of two kernels, both came up once; 2 boots next."""
    machine = maker.install(tmp_path / "machine", maker.publish("v1"))
    maker.publish("v2", kernel="6.13-two")
    bless(machine, go(machine))
    return machine


def bless(sysroot: Sysroot, number: int) -> None:
    for menu_entry in read_state(sysroot).menu.entries_of(number):
        old = sysroot.entries / format_entry_name(menu_entry.name)
        old.rename(
            sysroot.entries / format_entry_name(EntryName(sequence=menu_entry.name.sequence))
        )


def go(sysroot: Sysroot) -> int:
    staged = upgrade(sysroot, UPGRADE, QUIET)
    assert staged.deployment is not None
    return staged.deployment.number


def back(sysroot: Sysroot, which: str | None = None, *, keep_etc: bool = False) -> int:
    return rollback(sysroot, which, QUIET, keep_etc=keep_etc).number


def kernel_of(sysroot: Sysroot, number: int) -> Path:
    found = read_state(sysroot).find(number)
    assert found is not None
    return sysroot.esp / "atoll" / found.deployment.pair / "linux"


def tree_of(sysroot: Sysroot, number: int) -> Path:
    found = read_state(sysroot).find(number)
    assert found is not None
    return sysroot.atoll / "images" / found.deployment.tree


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)


def test_going_back_twice_with_todays_settings_leaves_what_came_up(
    maker: Maker, machine: Sysroot
) -> None:
    for _ in range(3):
        back(machine, "number:1", keep_etc=True)
        collect_garbage(machine, 1, QUIET)
        assert ways_back(machine.root)
        check_machine(machine)
    maker.publish("v3")
    upgrade(machine, UpgradeRequest(verb="upgrade", even_held=True), QUIET)
    collect_garbage(machine, 1, QUIET)
    assert ways_back(machine.root) == ["1"]


def test_a_hold_is_of_one_deployment_and_of_its_tree(machine: Sysroot) -> None:
    """A second deployment of the same tree may be fine, with other settings."""
    again = back(machine, "number:1", keep_etc=True)
    assert back(machine, "number:1") == 1
    state = read_state(machine)
    (first, second) = (state.find(1), state.find(again))
    assert first is not None and first.default and not first.held
    assert second is None or not second.held


def test_going_to_what_never_came_up_uses_nothing_up(maker: Maker, machine: Sysroot) -> None:
    maker.publish("v3")
    go(machine)
    set_pin(machine, 3, pinned=True)
    maker.publish("v4")
    bless(machine, go(machine))
    collect_garbage(machine, 1, QUIET)
    flip(tree_of(machine, 2))
    assert back(machine, "number:3") == 3
    assert ways_back(machine.root) == ["4"]
    found = read_state(machine).find(4)
    assert found is not None and found.fallback and not found.held


@pytest.mark.parametrize(
    "damage", ["kernel gone", "kernel flipped", "tree gone", "tree flipped", "object gone"]
)
def test_no_rollback_goes_to_what_cannot_boot(machine: Sysroot, damage: str) -> None:
    kernel, tree = kernel_of(machine, 1), tree_of(machine, 1)
    if damage == "object gone":
        before = objects_there(machine)
        shared = (machine.atoll / "images").glob("*")
        texts = {path.name: path.read_bytes() for path in shared}
        mine, other = texts[tree.name], texts[tree_of(machine, 2).name]
        places = {name: f"{name[:2]}/{name[2:]}".encode() for name in before}
        own = [name for name in before if places[name] in mine and places[name] not in other]
        (machine.atoll / "objects" / own[0][:2] / own[0][2:]).unlink()
    else:
        path = kernel if damage.startswith("kernel") else tree
        path.unlink() if damage.endswith("gone") else flip(path)
    for which in ("number:1", "v1", None):
        with pytest.raises(Refused, match=r"cannot boot|can boot"):
            back(machine, which)
    assert ways_back(machine.root) == ["2"]
    state = read_state(machine)
    assert state.default is not None and state.default.number == 2


def test_a_new_deployment_of_a_whole_tree_gets_its_kernel_again(machine: Sysroot) -> None:
    flip(kernel_of(machine, 1))
    number = back(machine, "number:1", keep_etc=True)
    assert number == 3
    assert set(ways_back(machine.root)) == {"1", "2"} or ways_back(machine.root) == ["1"]


@pytest.mark.parametrize("damage", ["tree gone", "tree flipped", "description", "kernel"])
def test_a_rollback_gets_away_from_what_is_damaged(machine: Sysroot, damage: str) -> None:
    if damage == "description":
        (machine.deployments / "2/deployment.json").write_text("{")
    elif damage == "kernel":
        kernel_of(machine, 2).unlink()
    else:
        path = tree_of(machine, 2)
        path.unlink() if damage == "tree gone" else flip(path)
    assert back(replace(machine, booted=2)) == 1
    assert ways_back(machine.root) == ["1"]
    assert (machine.deployments / "2").is_dir()


@pytest.mark.parametrize("name", ["linux", "initrd"])
def test_a_kernel_without_end_is_not_read_to_its_end(
    maker: Maker, machine: Sysroot, name: str
) -> None:
    """Nor in the way of anything: the disk of a directory may hold what FAT never could."""
    with kernel_of(machine, 2).with_name(name).open("wb") as file:
        file.truncate(1 << 40)
    state = read_state(machine)
    assert [each.flaw != "" for each in state.deployments] == [True, False]
    assert back(replace(machine, booted=2)) == 1
    maker.publish("v3", kernel="6.13-two")
    upgrade(machine, UpgradeRequest(verb="upgrade"), QUIET)
    assert all(each.flaw == "" for each in read_state(machine).deployments)


def test_the_last_way_back_is_no_ones_to_remove(machine: Sysroot) -> None:
    flip(kernel_of(machine, 2))
    state, verify = read_state(machine), verifier(machine)
    plan = plan_removal(machine, choose_removal(state, {1}, entries=(), pairs=()))
    with pytest.raises(Refused, match="no way back"):
        check_plan(state, plan, verify)
    check_plan(state, (RemoveDeployment(sysroot=machine, number=2),), verify)
    collect_garbage(machine, 1, QUIET)
    assert ways_back(machine.root) == ["1"]
    (name,) = [each.file for each in state.menu.entries_of(1)]
    with pytest.raises(Refused, match="no way back"):
        check_plan(state, (RemoveFromEsp(esp=machine.esp, path=machine.entries / name),), verify)


def test_an_entry_that_only_seems_to_outdo_the_last_way_back_stops_nobody(
    maker: Maker, machine: Sysroot
) -> None:
    """The disk changed the entry: it boots another tree, and the older entry is still needed."""
    flip(tree_of(machine, 1))
    (menu_entry,) = read_state(machine).menu.entries_of(2)
    good = machine.entries / menu_entry.file
    sequence = menu_entry.name.sequence + 5
    text = good.read_text().replace(
        f"version {menu_entry.name.sequence}\n", f"version {sequence}\n"
    )
    wrong = text.replace(f"composefs={tree_of(machine, 2).name}", f"composefs={'0' * 64}")
    assert wrong != text
    name = format_entry_name(EntryName(sequence=sequence))
    (machine.entries / name).write_text(wrong)
    maker.publish("v3")
    assert go(machine) == 3
    assert good.exists()


def test_status_says_loudly_that_there_is_no_way_back(
    machine: Sysroot, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(kernel_of(machine, 1))
    tree_of(machine, 2).unlink()
    assert not ways_back(machine.root)
    assert main(["status", "--root", str(machine.root)]) == 0
    told = capsys.readouterr()
    assert "NO WAY BACK" in told.err and "is damaged" in told.err and "is missing" in told.err
    assert explain_no_way_back(read_state(machine), verifier(machine))


def test_a_lost_tree_keeps_its_objects_and_is_told(
    machine: Sysroot, capsys: pytest.CaptureFixture[str]
) -> None:
    before = objects_there(machine)
    tree_of(machine, 1).unlink()
    assert main(["status", "--root", str(machine.root)]) == 0
    assert "its tree is missing" in capsys.readouterr().err
    tidied = collect_garbage(machine, None, QUIET)
    assert tidied.warning is not None and tree_of(machine, 1).name in tidied.warning
    assert objects_there(machine) == before


@pytest.mark.parametrize("text", ["{", "", '{"format": 2}', "not json", "\0" * 300])
def test_a_deployment_of_an_unknown_format_stays(maker: Maker, machine: Sysroot, text: str) -> None:
    path = machine.deployments / "1/deployment.json"
    path.write_text(text)
    before = objects_there(machine)
    for keep in (1, None):
        collect_garbage(machine, keep, QUIET)
    maker.publish("v3")
    bless(machine, go(machine))
    assert path.read_text() == text and (machine.deployments / "1/etc/upper").is_dir()
    assert before <= objects_there(machine), "what it needs is not known"


def test_a_pinned_deployment_stays_whatever_is_said(machine: Sysroot) -> None:
    set_pin(machine, 1, pinned=True)
    (machine.deployments / "1/deployment.json").write_text('{"format": 2}')
    collect_garbage(machine, 1, QUIET, damaged=True)
    assert (machine.deployments / "1").is_dir()


@pytest.mark.parametrize("kind", ["pinned", "blessed", "held"])
def test_marks_that_cannot_be_read_remove_nothing(
    maker: Maker, machine: Sysroot, kind: str, failing: Failing
) -> None:
    (machine.state / kind).mkdir(exist_ok=True)
    maker.publish("v3")
    go(machine)
    failing.fail(machine.state / kind, errno.EIO)
    collect_garbage(machine, 1, QUIET)
    assert {each.number for each in read_state(machine).deployments} == {1, 2, 3}
    assert any(kind in each for each in read_state(machine).damaged)


class Failing:
    """A file system that gives an error for some names, under the calls that read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._broken: dict[str, int] = {}
        listdir, open_file = os.listdir, os.open

        def check(path: object) -> None:
            for name, error in self._broken.items():
                if str(path) == name:
                    raise OSError(error, os.strerror(error), name)

        def failing_listdir(path: object = ".") -> list[str]:
            check(path)
            return listdir(path)  # type: ignore[call-overload,no-any-return]

        def failing_open(path: object, *rest: object, **more: object) -> int:
            check(path)
            return open_file(path, *rest, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "listdir", failing_listdir)
        monkeypatch.setattr(os, "open", failing_open)

    def fail(self, path: Path, error: int) -> None:
        self._broken[str(path)] = error


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Failing:
    return Failing(monkeypatch)


def test_an_entry_that_cannot_be_read_removes_nothing_and_stops_nothing(
    maker: Maker, machine: Sysroot
) -> None:
    (name,) = [each.file for each in read_state(machine).menu.entries_of(1)]
    (machine.entries / name).write_bytes(b"linux /x\nversion 99\n")
    maker.publish("v3", kernel="6.14-three")
    bless(machine, go(machine))
    collect_garbage(machine, 1, QUIET)
    assert (machine.deployments / "1").is_dir() and kernel_of(machine, 1).exists()


def test_a_partial_kernel_of_a_cut_is_written_again(maker: Maker, machine: Sysroot) -> None:
    """Also while an entry that cannot be read keeps every pair on the ESP."""
    (machine.entries / "atoll-90.conf").write_bytes(b"linux /x\nversion 1\n")
    maker.publish("v3", kernel="6.14-three")
    number = go(machine)
    pair = kernel_of(machine, number)
    cancel(machine, QUIET)
    pair.parent.mkdir(exist_ok=True)
    pair.write_bytes(b"a part")
    assert kernel_of(machine, go(machine)).stat().st_size > 5000


@pytest.mark.parametrize("obstacle", ["stray on the ESP", "numbers", "immutable", "huge number"])
def test_what_lies_about_stops_nobody(
    maker: Maker, machine: Sysroot, obstacle: str, request: pytest.FixtureRequest
) -> None:
    maker.publish("v3", kernel="6.14-three")
    bless(machine, go(machine))
    if obstacle == "stray on the ESP":
        (kernel_of(machine, 1).parent / "mine").mkdir()
    elif obstacle == "numbers":
        (machine.state / "numbers.json").write_text("garbage")
    elif obstacle == "huge number":
        (machine.deployments / "999999999").mkdir()
    else:
        path = machine.deployments / "1/etc/upper/mine"
        path.write_text("x")
        if os.system(f"chattr +i {path}"):  # a path of this test
            pytest.skip("this file system knows no immutable files")
        request.addfinalizer(lambda: os.system(f"chattr -R -i {machine.deployments}"))
    collect_garbage(machine, 2, QUIET)
    maker.publish("v4", kernel="6.15-four")
    four = go(machine)
    assert four == 4
    bless(machine, four)
    assert back(machine) == 3
    collect_garbage(machine, 1, QUIET)
    assert ways_back(machine.root)


def test_a_choice_in_the_menu_is_made_to_last(maker: Maker, machine: Sysroot) -> None:
    maker.publish("v3")
    bless(machine, go(machine))
    assert back(replace(machine, booted=1)) == 1


def test_yesterday_is_what_ran_then(machine: Sysroot) -> None:
    now = int(time.time())
    for days, number in ((3, 1), (2, 2), (1, 1), (0, 2)):
        event = HistoryEvent(when=now - days * 86400 - 1, what=BOOT, deployment=number)
        RecordEvent(state=machine.state, event=event).execute()
    assert back(machine, "yesterday") == 1


def test_a_word_with_two_meanings_is_asked_back(maker: Maker, tmp_path: Path) -> None:
    machine = maker.install(tmp_path / "machine", maker.publish("2"))
    for version in ("1", "3"):
        maker.publish(version)
        bless(machine, go(machine))
    with pytest.raises(UsageError, match=r"number:2 \(hello 1 \(2\)\)") as caught:
        back(machine, "2")
    assert "number:1 (hello 2 (1))" in caught.value.message
    assert back(machine, "version:2") == 1
    assert back(machine, "number:2") == 2
    for strange in ("9" * 5000, "٣", "1" * 300, "0"):
        with pytest.raises((UsageError, NotFound)):
            back(machine, strange)


@pytest.mark.parametrize("verb", ["cancel", "rollback", "gc", "upgrade"])
def test_a_fault_after_the_commit_is_a_warning(
    maker: Maker, machine: Sysroot, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), "the disk")

    maker.publish("v3")
    if verb == "cancel":
        go(machine)
    if verb == "gc":
        for version in ("v3", "v4"):
            maker.publish(version)
            bless(machine, go(machine))
        monkeypatch.setattr("atoll.machine.deployments.operations.RemoveDeployment.execute", broken)
        assert "the disk" in (collect_garbage(machine, 1, QUIET).warning or "")
        return
    monkeypatch.setattr("atoll.machine.deployments.history.RecordEvent.execute", broken)
    works = {
        "cancel": lambda: cancel(machine, QUIET).warning,
        "rollback": lambda: rollback(machine, None, QUIET, keep_etc=False).warning,
        "upgrade": lambda: upgrade(machine, UPGRADE, QUIET).warning,
    }
    warning = works[verb]()
    assert warning is not None and "succeeded" in warning and "the disk" in warning
    state = read_state(machine)
    wanted = {"cancel": 2, "rollback": 1, "upgrade": 3}[verb]
    assert state.default is not None and state.default.number == wanted


def test_leftovers_of_every_name_are_found(machine: Sysroot) -> None:
    names = [
        *("state/.numbers.json.abcd1234", "refs/.downloaded.json.abcd1234"),
        *("state/held/.x.abcd_234", "state/conflicts/2.new/list.json", "deployments/new-9/x"),
        *("deployments/gone-3/x", "deployments/2/etc/upper.new/x"),
        *("deployments/2/etc/.merged-from.abcd1234", "state/tries/2/.verdict.abcd1234"),
    ]
    mine = [
        "state/.mine",
        "refs/mine.json.txt",
        "deployments/new-house/x",
        "deployments/2/etc/upper/.a.b.abcd1234",
    ]
    for name in (*names, *mine):
        path = machine.atoll / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert len(list_leftovers(machine)) == len(names)
    collect_garbage(machine, None, QUIET)
    assert not list_leftovers(machine)
    assert all((machine.atoll / name).exists() for name in mine)


def test_json_of_any_shape_is_damage_and_no_mistake(machine: Sysroot) -> None:
    for text in ("[" * 100_000, json.dumps({"format": 1, "number": 10**30}), "9" * 5000):
        (machine.deployments / "1/deployment.json").write_text(text)
        assert read_state(machine).damaged_numbers == {1}
        (machine.state / "numbers.json").write_text(text)
        with pytest.raises(AtollError):
            back(machine, "number:1")
        with pytest.raises(NothingToDo):
            back(machine, "number:2")


def test_the_hint_of_a_full_disk_names_a_place_that_is_there(tmp_path: Path) -> None:
    gone = tmp_path / "new-3/etc/upper.new"
    with pytest.raises(NoSpace) as caught, space_errors(gone):
        raise OSError(errno.ENOSPC, "x")
    hint = caught.value.hint or ""
    assert Path(hint.rpartition(" ")[2]).is_dir()


@pytest.mark.parametrize("damage", ["tree gone", "tree flipped"])
def test_an_upgrade_cures_a_damaged_tree_and_keeps_the_settings(
    maker: Maker, machine: Sysroot, damage: str
) -> None:
    upper = machine.deployments / "2/etc/upper"
    write(upper, {"mine.conf": "mine\n", "motd": "my words\n"})
    os.mknod(upper / "shadow", 0o020000, os.makedev(0, 0))
    path = tree_of(machine, 2)
    path.unlink() if damage == "tree gone" else flip(path)
    maker.publish("v3", {"etc/motd": "theirs\n", "etc/three.conf": "3\n"}, kernel="6.14-three")
    staged = upgrade(machine, UPGRADE, QUIET)
    assert staged.deployment is not None and staged.merge is not None
    live = read_machine_etc(machine, staged.deployment.number).live
    contents = {name: node.entry.read() for name, node in live.children.items() if is_file(node)}
    assert contents["mine.conf"] == b"mine\n" and contents["motd"] == b"my words\n"
    assert contents["three.conf"] == b"3\n" and "shadow" not in contents
    assert [each.path for each in staged.merge.conflicts] == ["motd"]


def test_a_boot_is_noted_once_with_the_time_it_began(machine: Sysroot, tmp_path: Path) -> None:
    uptime = tmp_path / "uptime"
    for passed in ("90000.5 1.0", "90000.6 1.0", "5.0 1.0"):
        uptime.write_text(passed)
        record_boot(replace(machine, booted=1), uptime)
    boots = [each for each in read_history(machine.state) if each.what == BOOT]
    assert [each.deployment for each in boots] == [1, 1]
    assert boots[1].when - boots[0].when > 80000
