"""The /etc merge on real overlays: what the kernel shows is what was decided, cut or not cut."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Busy, Damaged
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.etc.conflicts import read_conflicts
from atoll.machine.etc.etc_tree import node_at, replaced
from atoll.machine.etc.merge import plan_merge
from atoll.machine.etc.merge_base import parse_merge_base
from atoll.machine.etc.overlay_upper import plan_live, plan_upper
from atoll.machine.etc.read import read_directory, read_layered
from atoll.machine.etc.stage import (
    EtcPaths,
    MergeInputs,
    merge_at_first_boot,
    plan_first_boot,
    plan_stage,
)
from tests.etc_staging import stage_etc
from tests.unit.machine.etc_trees import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.machine.deployments.operations import Operation

pytestmark = pytest.mark.root

OPTIONS = "redirect_dir=off,metacopy=off,index=off,xino=off"
WANTS = "systemd/system/multi-user.target.wants"
PASSWD = "root:x:0:0:root:/root:/bin/bash\nsshd:x:101:65534::/run/sshd:/usr/sbin/nologin\n"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs: a directory that may itself be on an overlay is no place for an upper one."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "etc-test", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@contextmanager
def mounted(lower: Path, upper: Path) -> Iterator[Path]:
    work, target = upper.with_name(f"{upper.name}.work"), upper.with_name(f"{upper.name}.shown")
    for path in (upper, work, target):
        path.mkdir(exist_ok=True)
    options = f"lowerdir={lower},upperdir={upper},workdir={work},{OPTIONS}"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "etc-test", target], check=True)
    try:
        yield target
    finally:
        subprocess.run(["umount", target], check=True)


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            path.symlink_to(text[3:])
        else:
            path.write_text(text)


OLD = {
    "passwd": PASSWD,
    "app.conf": "[main]\nport=1\n\n[log]\nlevel=info\n",
    "motd": "welcome\n",
    "alone": "1\n",
    f"{WANTS}/timer.timer": "-> /usr/lib/systemd/system/timer.timer",
    "skel/.bashrc": "x\n",
    "skel/.profile": "x\n",
    "localtime": "-> /usr/share/zoneinfo/UTC",
    "secret": "s\n",
    "turned/a": "1\n",
    "was-file": "1\n",
    "dropped/by-image": "1\n",
}
NEW = {
    **OLD,
    "passwd": PASSWD + "ntp:x:102:102::/:/usr/sbin/nologin\n",
    "app.conf": "[main]\nport=1\n\n[log]\nlevel=warning\n",
    "motd": "welcome to 2\n",
    "alone": "2\n",
    f"{WANTS}/new.service": "-> /usr/lib/systemd/system/new.service",
    "skel/.bashrc": "y\n",
    "secret": "t\n",
}
del NEW["dropped/by-image"]


def change_as_a_person(etc: Path) -> None:
    with (etc / "passwd").open("a") as file:
        file.write("joe:x:1000:1000::/home/joe:/bin/bash\n")
    (etc / "app.conf").write_text("[main]\nport=8080\n\n[log]\nlevel=info\n")
    (etc / "motd").write_text("mine\n")
    shutil.rmtree(etc / WANTS)
    (etc / "skel/.profile").unlink()
    (etc / "localtime").unlink()
    (etc / "localtime").symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    (etc / "secret").chmod(0o600)
    os.chown(etc / "secret", 5, 7)
    # A directory that was removed and made again is opaque in the upper one.
    shutil.rmtree(etc / "turned")
    write(etc, {"turned/b": "2\n", "app.conf.d/mine.conf": "y\n"})
    (etc / "was-file").unlink()
    write(etc, {"was-file/inside": "1\n"})
    os.mkfifo(etc / "pipe")
    os.setxattr(etc / "skel", "security.test", b"label")


RESULT = {
    "passwd": NEW["passwd"] + "joe:x:1000:1000::/home/joe:/bin/bash\n",
    "app.conf": "[main]\nport=8080\n\n[log]\nlevel=warning\n",
    "motd": "mine\n",
    "alone": "2\n",
    f"{WANTS}/new.service": NEW[f"{WANTS}/new.service"],
    "skel/.bashrc": "y\n",
    "localtime": "-> /usr/share/zoneinfo/Europe/Berlin",
    "secret": "t\n",
    "turned/b": "2\n",
    "was-file/inside": "1\n",
    "app.conf.d/mine.conf": "y\n",
}


def texts(etc: Path) -> dict[str, str]:
    found = {}
    for place, _, names in os.walk(etc):
        for name in names:
            path = Path(place, name)
            text = f"-> {path.readlink()}" if path.is_symlink() else path.read_text()
            found[str(path.relative_to(etc))] = text
    return found


def test_an_upgrade_shows_what_was_decided(disk: Path) -> None:
    old, new = disk / "old", disk / "new"
    write(old, OLD)
    write(new, NEW)
    with mounted(old, disk / "upper") as etc:
        change_as_a_person(etc)
        live = read_directory(etc)
        assert live.skipped == ("pipe",)
        tree = read_directory(old).root
        # The pipe is carried nowhere; in the upper directory it is the only such thing, too.
        assert read_layered(tree, disk / "upper") == live
        merge = plan_merge(tree, live.root, read_directory(new).root)
        apply_operations(plan_upper(merge.result, read_directory(new).root, disk / "next"))
    assert [each.path for each in merge.conflicts] == ["motd"]
    names = {str(path.relative_to(disk / "next")) for path in (disk / "next").rglob("*")}
    assert "alone" not in names
    assert "skel/.bashrc" not in names
    with mounted(new, disk / "next") as etc:
        assert texts(etc) == RESULT
        assert read_directory(etc).root == merge.result
        found = (etc / "secret").stat()
        assert (found.st_mode & 0o777, found.st_uid, found.st_gid) == (0o600, 5, 7)
        assert os.getxattr(etc / "skel", "security.test") == b"label"
    for path in (disk / "next").rglob("*"):
        assert not [
            name for name in os.listxattr(path, follow_symlinks=False) if name.endswith("opaque")
        ]


def test_nothing_changed_here_leaves_an_empty_upper(disk: Path) -> None:
    write(disk / "old", OLD)
    write(disk / "new", NEW)
    old, new = (read_directory(disk / name).root for name in ("old", "new"))
    apply_operations(plan_upper(plan_merge(old, old, new).result, new, disk / "upper"))
    assert list((disk / "upper").iterdir()) == []


@pytest.mark.parametrize("seed", range(25))
def test_an_unchanged_image_shows_exactly_what_was_there(seed: int, disk: Path) -> None:
    """Random edits through the kernel's overlay; the fresh upper shows the same /etc."""
    chance = random.Random(seed)
    names = ["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "f", "f/a"]
    lower = disk / "old"
    lower.mkdir()
    for _ in range(8):
        edit(lower, chance.choice(names), chance)
    with mounted(lower, disk / "upper") as etc:
        for _ in range(12):
            edit(etc, chance.choice(names), chance)
        tree, live = read_directory(lower).root, read_directory(etc).root
    layered = read_layered(tree, disk / "upper").root
    assert layered == live
    merge = plan_merge(tree, layered, tree)
    assert not merge.conflicts
    apply_operations(plan_upper(merge.result, tree, disk / "next"))
    with mounted(lower, disk / "next") as etc:
        assert read_directory(etc).root == live
        # And on: edits on top of the fresh upper, put back name by name while it is in use.
        for _ in range(6):
            edit(etc, chance.choice(names), chance)
        apply_operations(plan_live(read_directory(etc).root, tree, etc))
        assert read_directory(etc).root == tree


def edit(etc: Path, name: str, chance: random.Random) -> None:
    path = etc / name
    for parent in reversed(path.relative_to(etc).parents):
        if (etc / parent).is_symlink() or not (etc / parent).is_dir():
            remove(etc / parent)
            (etc / parent).mkdir()
    match chance.choice(["file", "file", "link", "directory", "remove", "mode"]):
        case "file":
            remove(path)
            path.write_text(chance.choice("123") + "\n")
        case "link":
            remove(path)
            path.symlink_to(chance.choice("123"))
        case "directory":
            remove(path)
            path.mkdir()
        case "remove":
            remove(path)
        case "mode" if path.exists() and not path.is_symlink():
            path.chmod(chance.choice([0o600, 0o700, 0o755]))


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.is_symlink() or path.exists():
        path.unlink()


def place_in(disk: Path) -> EtcPaths:
    (disk / "n").mkdir()
    return EtcPaths(upper=disk / "n/upper", record=disk / "n/record", conflicts=disk / "state/2")


def read_views(disk: Path) -> MergeInputs:
    return MergeInputs(
        source=1,
        old=read_directory(disk / "old").root,
        live=read_directory(disk / "live").root,
        new=read_directory(disk / "new").root,
    )


def trees(disk: Path) -> None:
    write(disk / "old", OLD)
    write(disk / "new", NEW)
    write(disk / "live", OLD)
    change_as_a_person(disk / "live")
    (disk / "live/pipe").unlink()


def change_again(live: Path) -> None:
    passwd = (live / "passwd").read_text()
    (live / "passwd").write_text(passwd.replace("/home/joe:/bin/bash", "/home/joe:/bin/zsh"))
    write(live, {"NetworkManager/system-connections/home": "psk\n"})
    (live / "alone").write_text("3\n")
    shutil.rmtree(live / "app.conf.d")


def test_a_deployment_takes_along_what_changed_until_its_first_boot(disk: Path) -> None:
    trees(disk)
    place = place_in(disk)
    stage_etc(lambda: read_views(disk), place)
    with mounted(disk / "new", place.upper) as etc:
        assert texts(etc) == RESULT
    assert [each.path for each in read_conflicts(place.conflicts)] == ["motd"]
    assert (place.conflicts / "image/motd").read_text() == "welcome to 2\n"
    assert place.conflicts.stat().st_mode & 0o777 == 0o700
    change_again(disk / "live")
    changed = merge_at_first_boot(lambda _: read_views(disk), place)
    assert set(changed) == {
        "NetworkManager",
        "NetworkManager/system-connections",
        "NetworkManager/system-connections/home",
        "alone",
        "app.conf.d",
        "app.conf.d/mine.conf",
        "passwd",
    }
    expected = {
        **RESULT,
        "passwd": RESULT["passwd"].replace("joe:/bin/bash", "joe:/bin/zsh"),
        "NetworkManager/system-connections/home": "psk\n",
        "alone": "3\n",
    }
    del expected["app.conf.d/mine.conf"]
    with mounted(disk / "new", place.upper) as etc:
        assert texts(etc) == expected
        (etc / "alone").write_text("its own\n")
    assert [each.path for each in read_conflicts(place.conflicts)] == ["alone", "motd"]
    # Later boots have nothing to do, whatever happens to the other deployment's /etc.
    (disk / "live/alone").write_text("4\n")
    assert merge_at_first_boot(lambda _: read_views(disk), place) == ()
    with mounted(disk / "new", place.upper) as etc:
        assert (etc / "alone").read_text() == "its own\n"


def plan_again(disk: Path, place: EtcPaths) -> tuple[tuple[str, ...], tuple[Operation, ...]]:
    record = parse_merge_base(place.record.read_bytes(), where="the record")
    return plan_first_boot(record, read_views(disk), place)


def snapshot(place: EtcPaths, new: Path) -> object:
    if not place.upper.exists():
        return None
    return shown(read_layered(read_directory(new).root, place.upper).root)


def cut_after_each(operations: tuple[Operation, ...]) -> range:
    return range(len(operations) + 1)


def test_staging_that_is_cut_leaves_the_old_upper_or_the_new(disk: Path) -> None:
    trees(disk)
    place = place_in(disk)
    _, operations = plan_stage(read_views(disk), place)
    apply_operations(operations)
    first = snapshot(place, disk / "new")
    change_again(disk / "live")
    second: object = None
    for cut in cut_after_each(plan_stage(read_views(disk), place)[1]):
        if cut:
            undo_stage(disk, place)
        _, operations = plan_stage(read_views(disk), place)
        apply_operations(operations[:cut])
        middle = snapshot(place, disk / "new")
        apply_operations(plan_stage(read_views(disk), place)[1])
        second = second or snapshot(place, disk / "new")
        assert middle in (first, second)
        assert snapshot(place, disk / "new") == second
        assert_no_leftovers(disk)
    assert first != second


def undo_stage(disk: Path, place: EtcPaths) -> None:
    """Back to the first staging, made from what the person had then."""
    for name in ("n", "state"):
        shutil.rmtree(disk / name)
    (disk / "n").mkdir()
    shutil.move(disk / "live", disk / "later")
    write(disk / "live", OLD)
    change_as_a_person(disk / "live")
    (disk / "live/pipe").unlink()
    apply_operations(plan_stage(read_views(disk), place)[1])
    shutil.rmtree(disk / "live")
    shutil.move(disk / "later", disk / "live")


def test_a_first_boot_that_is_cut_is_completed_by_the_next(disk: Path) -> None:
    trees(disk)
    place = place_in(disk)
    stage_etc(lambda: read_views(disk), place)
    first = snapshot(place, disk / "new")
    change_again(disk / "live")
    ends = []
    count = len(plan_again(disk, place)[1])
    for cut in range(count + 1):
        if cut:
            undo_stage(disk, place)
        _, operations = plan_again(disk, place)
        apply_operations(operations[:cut])
        middle = snapshot(place, disk / "new")
        merge_at_first_boot(lambda _: read_views(disk), place)
        ends.append(snapshot(place, disk / "new"))
        assert middle in (first, ends[0])
        assert ends[-1] == ends[0]
        assert not place.record.exists()
        assert [each.path for each in read_conflicts(place.conflicts)] == ["alone", "motd"]
        assert_no_leftovers(disk)
    assert ends[0] != first


def assert_no_leftovers(disk: Path) -> None:
    assert sorted(path.name for path in (disk / "n").iterdir() if path.name != "record") == [
        "upper"
    ]
    assert [path.name for path in (disk / "state").iterdir()] == ["2"]


def test_a_failing_first_boot_keeps_what_was_staged(disk: Path) -> None:
    trees(disk)
    place = place_in(disk)
    stage_etc(lambda: read_views(disk), place)
    first = snapshot(place, disk / "new")
    place.record.write_text("{")
    with pytest.raises(Damaged, match="is not valid JSON"):
        merge_at_first_boot(lambda _: read_views(disk), place)
    assert snapshot(place, disk / "new") == first
    assert merge_at_first_boot(lambda _: read_views(disk), place) == ()


def test_a_file_that_changes_while_it_is_read_is_read_again(disk: Path) -> None:
    trees(disk)
    place = place_in(disk)
    times: list[int] = []

    def read_while_somebody_writes() -> MergeInputs:
        views = read_views(disk)
        times.append(len(times))
        if len(times) == 1:
            (disk / "live/motd").write_text("meanwhile\n")
        return views

    stage_etc(read_while_somebody_writes, place)
    assert (place.upper / "motd").read_text() == "meanwhile\n"
    assert len(times) == 2

    def read_while_somebody_always_writes() -> MergeInputs:
        views = read_views(disk)
        times.append(len(times))
        (disk / "live/motd").write_text(f"{len(times)}\n")
        return views

    with pytest.raises(Busy, match="motd changed while it was read"):
        stage_etc(read_while_somebody_always_writes, place)


def test_an_upper_of_another_kind_of_overlay_is_refused(disk: Path) -> None:
    trees(disk)
    upper = disk / "upper"
    write(upper, {"a/b": "1\n"})
    os.setxattr(upper / "a", "trusted.overlay.redirect", b"/c")
    with pytest.raises(Damaged, match="redirect"):
        read_layered(read_directory(disk / "old").root, upper)


def test_the_machines_choice_in_a_staged_deployment_outlives_the_second_merge(disk: Path) -> None:
    trees(disk)
    place = place_in(disk)
    stage_etc(lambda: read_views(disk), place)
    new = read_directory(disk / "new").root
    staged = read_layered(new, place.upper).root
    apply_operations(plan_upper(replaced(staged, "motd", node_at(new, "motd")), new, place.upper))
    change_again(disk / "live")
    merge_at_first_boot(lambda _: read_views(disk), place)
    with mounted(disk / "new", place.upper) as etc:
        assert (etc / "motd").read_text() == "welcome to 2\n"
        assert (etc / "alone").read_text() == "3\n"
