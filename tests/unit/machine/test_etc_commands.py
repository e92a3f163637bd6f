"""``atoll etc`` on a machine in a directory: what differs, conflicts settled, paths put back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import NotFound, NothingToDo, Refused, UsageError
from atoll.base.report import NullReporter
from atoll.cli.main import main
from atoll.machine.deployment import Deployment, format_deployment
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.etc.conflicts import read_conflicts
from atoll.machine.etc.etc_commands import (
    MachineEtc,
    complete_staged,
    parse_path,
    plan_resolve,
    read_machine_etc,
    read_tree_etc,
)
from atoll.machine.etc.etc_tree import Node, walk
from atoll.machine.etc.overlay_upper import plan_live
from atoll.machine.etc.read import read_directory, read_layered
from atoll.machine.etc.stage import EtcPaths, MergeInputs, etc_paths
from atoll.store.layout import open_store
from atoll.store.scan import import_directory
from atoll.store.tree_images import write_image
from tests.etc_staging import stage_etc
from tests.unit.machine.etc_trees import File, mode_changed, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atoll.base.ids import TreeId

LONG = "".join(f"line {number}\n" for number in range(40))
PASSWD = "root:x:0:0::/root:/bin/bash\n"
NTP = "ntp:x:102:102::/:/usr/sbin/nologin\n"
OLD = {"motd": "1\n", "long": LONG, "passwd": PASSWD, "keys/a": "1\n", "gone": "1\n"}
NEW = {**OLD, "motd": "2\n", "passwd": PASSWD.replace("bash", "sh") + NTP, "gone": "2\n"}


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def add_deployment(sysroot: Sysroot, number: int, etc: Mapping[str, str], source: Path) -> None:
    write(source / "etc", etc)
    store = open_store(sysroot.atoll, create=True)
    tree: TreeId = write_image(store, import_directory(store, source, NullReporter()))
    deployment = Deployment(
        number=number, tree=tree, name="hello", version=str(number), kernel="6", pair="0" * 64
    )
    path = sysroot.deployments / str(number)
    (path / "etc/upper").mkdir(parents=True)
    (path / "deployment.json").write_bytes(format_deployment(deployment))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Deployment 1 with a person's changes, and 2 staged from it; their trees beside it."""
    place = tmp_path_factory.mktemp("made")
    sysroot = sysroot_in(place)
    add_deployment(sysroot, 1, OLD, place / "tree1")
    add_deployment(sysroot, 2, NEW, place / "tree2")
    upper = place_of(sysroot, 1).upper
    mine = {"motd": "mine\n", "own.d/x": "x\n", "passwd": PASSWD.replace("bash", "zsh")}
    write(upper, {**mine, "long": LONG.replace("line 7\n", "seven\n")})
    os.mknod(upper / "gone", 0o020000, os.makedev(0, 0))
    old, new = read_tree_etc(sysroot, 1), read_tree_etc(sysroot, 2)
    views = MergeInputs(source=1, old=old, live=read_layered(old, upper).root, new=new)
    stage_etc(lambda: views, place_of(sysroot, 2))
    return place


@pytest.fixture
def machine(made: Path, tmp_path: Path) -> Sysroot:
    subprocess.run(["cp", "-a", f"{made}/.", tmp_path], check=True)
    return sysroot_in(tmp_path)


def sysroot_in(place: Path) -> Sysroot:
    return Sysroot(root=place / "machine", esp=place / "machine/esp")


def place_of(sysroot: Sysroot, number: int) -> EtcPaths:
    return etc_paths(sysroot, number)


def etc_of(sysroot: Sysroot, number: int = 2) -> dict[str, str]:
    found = shown(read_machine_etc(sysroot, number).live)
    return {
        path: what.text if isinstance(what, File) else str(what) for path, what in found.items()
    }


def run(sysroot: Sysroot, *words: str) -> int:
    return main(["etc", *words, "--root", str(sysroot.root), "--deployment", "2", "--quiet"])


def test_the_view_of_an_image_is_the_view_of_its_directory(
    machine: Sysroot, tmp_path: Path
) -> None:
    tree = read_tree_etc(machine, 2)
    assert tree == read_directory(tmp_path / "tree2/etc").root
    assert tree.children["long"].entry.read() == LONG.encode()
    assert tree.children["motd"].entry.read() == b"2\n"


def test_diff_lists_changes_and_conflicts(
    machine: Sysroot, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(machine, "diff") == 0
    kept = machine.state / "conflicts/2/image"
    assert capsys.readouterr().out.splitlines() == [
        "removed       /etc/gone",
        "changed       /etc/long",
        "changed       /etc/motd",
        "added         /etc/own.d",
        "added         /etc/own.d/x",
        "changed       /etc/passwd",
        "conflict      /etc/gone: removed here, changed in the image",
        f"              the image's: {kept}/gone",
        "conflict      /etc/motd: content changed here and in the image",
        f"              the image's: {kept}/motd",
        "conflict      /etc/passwd: root: changed here and in the image",
        f"              the image's: {kept}/passwd",
    ]
    assert run(machine, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["deployment"] == 2
    assert {"path": "/etc/own.d", "change": "added"} in document["changes"]
    assert [each["path"] for each in document["conflicts"]] == [
        "/etc/gone",
        "/etc/motd",
        "/etc/passwd",
    ]
    assert Path(document["conflicts"][1]["image"]).read_text() == "2\n"
    assert document["skipped"] == []


def test_resolving_with_mine_leaves_the_file_and_ends_the_conflict(machine: Sysroot) -> None:
    before = etc_of(machine)
    assert run(machine, "resolve", "/etc/motd", "--mine") == 0
    assert etc_of(machine) == before
    assert [each.path for each in read_machine_etc(machine, 2).conflicts] == ["gone", "passwd"]
    assert run(machine, "resolve", "motd", "--mine") == NotFound.exit_code


def test_resolving_with_the_images_takes_it_whole(machine: Sysroot) -> None:
    before = etc_of(machine)
    assert run(machine, "resolve", "motd", "--image") == 0
    assert run(machine, "resolve", "gone", "--image") == 0
    assert etc_of(machine) == {**before, "motd": "2\n", "gone": "2\n"}
    assert not (place_of(machine, 2).upper / "motd").exists()


def test_resolving_users_with_the_images_keeps_the_machines_own(machine: Sysroot) -> None:
    assert etc_of(machine)["passwd"] == PASSWD.replace("bash", "zsh") + NTP
    assert run(machine, "resolve", "passwd", "--image") == 0
    assert etc_of(machine)["passwd"] == PASSWD.replace("bash", "sh") + NTP


def test_ids_of_the_image_are_never_taken(machine: Sysroot) -> None:
    kept = place_of(machine, 2).conflicts / "image/passwd"
    kept.write_text(PASSWD + NTP.replace("x:102", "x:103"))
    assert run(machine, "resolve", "passwd", "--image") == Refused.exit_code
    assert etc_of(machine)["passwd"] == PASSWD.replace("bash", "zsh") + NTP


def test_the_last_conflict_leaves_nothing_behind(machine: Sysroot) -> None:
    for path in ("gone", "motd", "passwd"):
        assert run(machine, "resolve", path, "--mine") == 0
    assert list((machine.state / "conflicts").iterdir()) == []


def test_reset_makes_a_path_what_the_tree_has(machine: Sysroot) -> None:
    assert run(machine, "reset", "/etc/motd") == 0
    assert run(machine, "reset", "own.d") == 0
    assert run(machine, "reset", "gone") == 0
    assert etc_of(machine) == {
        **NEW,
        "long": LONG.replace("line 7\n", "seven\n"),
        "passwd": PASSWD.replace("bash", "zsh") + NTP,
    }
    assert [each.path for each in read_machine_etc(machine, 2).conflicts] == ["passwd"]
    assert run(machine, "reset", "motd") == 77
    assert run(machine, "reset", "nowhere") == NotFound.exit_code


def test_what_a_person_resets_is_not_what_early_boot_takes_for_lost(machine: Sysroot) -> None:
    etc = place_of(machine, 2).upper.parent
    for name in ("good", "good.new"):
        write(etc / name, {"passwd": PASSWD, "motd": "mine\n"})
    assert run(machine, "reset", "passwd") == 0
    assert not (etc / "upper/passwd").exists()
    # A good boot keeps it again; until then there is nothing to restore.
    assert sorted(path.name for path in etc.iterdir()) == ["merged-from", "upper"]


def test_early_boot_takes_along_what_changed_since_staging(machine: Sysroot) -> None:
    upper = place_of(machine, 1).upper
    write(upper, {"own.d/x": "y\n"})
    (upper / "long").unlink()
    assert run(machine, "complete") == 0
    changed = {"own.d/x": "y\n", "long": LONG, "passwd": PASSWD.replace("bash", "zsh") + NTP}
    expected = {**NEW, "motd": "mine\n", **changed}
    del expected["gone"]
    assert etc_of(machine) == expected
    write(upper, {"own.d/x": "z\n"})
    assert run(machine, "complete") == 0
    assert etc_of(machine) == expected


def test_without_the_deployment_it_came_from_what_was_staged_stays(machine: Sysroot) -> None:
    before = etc_of(machine)
    (machine.deployments / "1").rename(machine.deployments / "x")
    assert run(machine, "complete") == 8
    assert etc_of(machine) == before
    assert not place_of(machine, 2).record.exists()


@pytest.mark.parametrize("path", ["/usr/bin", "..", "/etc/../usr", "/etc", "", "a//b", "/etc/"])
def test_paths_that_are_not_in_etc(path: str) -> None:
    with pytest.raises(UsageError):
        parse_path(path)


def test_the_attributes_of_etc_itself_can_be_in_conflict(made: Path, tmp_path: Path) -> None:
    sysroot = sysroot_in(made)
    old, new = read_tree_etc(sysroot, 1), read_tree_etc(sysroot, 2)
    mode = new.entry.mode
    changed = Node(replace(old.entry, mode=0o700), {**old.children, "motd": new.children["motd"]})
    views = MergeInputs(source=1, old=old, live=changed, new=mode_changed(new, 0o711))
    place = EtcPaths(upper=tmp_path / "up", record=tmp_path / "r", conflicts=tmp_path / "c")
    stage_etc(lambda: views, place)
    (conflict,) = read_conflicts(place.conflicts)
    assert (conflict.path, conflict.attributes) == ("", True)
    etc = MachineEtc(
        deployment=2,
        tree=new,
        live=changed,
        skipped=(),
        conflicts=(conflict,),
        paths=place,
        mounted=None,
        unread="",
    )
    apply_operations(plan_resolve(etc, parse_path("/etc/", etc_too=True), image=True))
    assert (tmp_path / "up").stat().st_mode & 0o777 == 0o711 != mode
    assert read_conflicts(place.conflicts) == ()
    assert set(read_layered(new, tmp_path / "up").root.children) == set(changed.children)


def test_a_leftover_draft_is_no_change(tmp_path: Path) -> None:
    write(tmp_path, {".atoll-draft": "x\n", "a/.atoll-draft": "x\n"})
    assert [path for path, _ in walk(read_directory(tmp_path).root)] == ["", "a", "a/.atoll-draft"]


@pytest.mark.parametrize("text", ["/etc/ssh/", "ssh", "/etc/ssh"])
def test_paths_as_people_name_them(text: str) -> None:
    assert parse_path(text) == "ssh"


def test_a_damaged_list_of_conflicts_is_named(
    machine: Sysroot, capsys: pytest.CaptureFixture[str]
) -> None:
    path = place_of(machine, 2).conflicts / "list.json"
    lost = {"path": "x", "why": "y", "image": True, "attributes": False}
    for text in (
        "",
        "[]",
        '{"format": 2, "conflicts": []}',
        json.dumps({"format": 1, "conflicts": [lost]}),
    ):
        path.write_text(text)
        assert run(machine, "diff") == 8
        told = capsys.readouterr()
        assert str(path) in told.err and "changed       /etc/motd" in told.out
        assert run(machine, "resolve", "/etc/motd", "--mine") == 8
        assert run(machine, "reset", "/etc/long") in (0, NothingToDo.exit_code)
        assert path.read_text() == text


@pytest.mark.parametrize("spoil", ["noise", "a pipe", "a directory", "a lost image"])
def test_a_list_of_conflicts_that_cannot_be_read_is_put_aside_at_the_first_boot(
    machine: Sysroot, spoil: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = place_of(machine, 2)
    path = place.conflicts / "list.json"
    if spoil == "a lost image":
        shutil.rmtree(place.conflicts / "image")
    else:
        path.unlink()
    if spoil == "noise":
        path.write_bytes(b"\x1b[31m\0")
    elif spoil == "a pipe":
        os.mkfifo(path)
    elif spoil == "a directory":
        path.mkdir()
    write(place_of(machine, 1).upper, {"new": "changed since it was staged\n"})
    assert complete_staged(machine, 2) == ("new",)
    assert read_layered(read_tree_etc(machine, 2), place.upper).root.children["new"]
    assert (machine.state / "conflicts/2.damaged/list.json").exists()
    assert run(machine, "diff") == 8
    assert "2.damaged" in capsys.readouterr().err


def test_there_is_no_such_deployment(machine: Sysroot) -> None:
    assert main(["etc", "--root", str(machine.root), "--deployment", "7"]) == NotFound.exit_code
    assert main(["etc", "--root", str(machine.root)]) == NotFound.exit_code


def test_a_live_etc_is_changed_name_by_name(tmp_path: Path) -> None:
    etc, wanted = tmp_path / "etc", tmp_path / "wanted"
    write(etc, {"a": "1\n", "b/x": "1\n", "c": "1\n", "d/keep": "1\n", "d/go": "1\n"})
    write(wanted, {"a": "2\n", "b": "1\n", "c/x": "1\n", "d/keep": "1\n"})
    (wanted / "link").symlink_to("a")
    (wanted / "d").chmod(0o700)
    kept = (etc / "d/keep").stat().st_ino
    live, goal = read_directory(etc).root, read_directory(wanted).root
    for operation in plan_live(live, goal, etc):
        operation.execute()
    assert read_directory(etc).root == goal
    assert (etc / "d/keep").stat().st_ino == kept
