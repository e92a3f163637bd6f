"""Upgrades, rebases, rollbacks of a machine in a directory: what boots next, what stays."""

from __future__ import annotations

import gc
import json
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import (
    Busy,
    NoSpace,
    NotFound,
    NothingToDo,
    RecipeError,
    Refused,
)
from atoll.base.report import NullReporter
from atoll.cli.main import main
from atoll.host.fs import locked
from atoll.machine.boot.boot_entry import EntryName, format_entry_name
from atoll.machine.cancel import cancel
from atoll.machine.deployments.history import read_history
from atoll.machine.deployments.retention import require_current
from atoll.machine.deployments.state import read_origin, read_state
from atoll.machine.etc.etc_commands import read_machine_etc
from atoll.machine.etc.etc_tree import node_at
from atoll.machine.gc import collect_garbage
from atoll.machine.pin import set_pin
from atoll.machine.rollback import rollback
from atoll.machine.space import Space
from atoll.machine.upgrade import UpgradeRequest, check_upgrade, preview_upgrade, upgrade
from atoll.oci.toc import TableOfContents
from tests.machines import Maker, check_machine, objects_needed, objects_there, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atoll.machine.deployments.sysroot import Sysroot

pytestmark = pytest.mark.root

UPGRADE = UpgradeRequest(verb="upgrade")


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "maker")


@pytest.fixture
def machine(maker: Maker, tmp_path: Path) -> Sysroot:
    return maker.install(tmp_path / "machine", maker.publish("1"))


def bless(sysroot: Sysroot, number: int) -> None:
    """What a healthy boot does: the deployment's entry loses its counter."""
    for menu_entry in read_state(sysroot).menu.entries_of(number):
        old = sysroot.entries / format_entry_name(menu_entry.name)
        old.rename(
            sysroot.entries / format_entry_name(EntryName(sequence=menu_entry.name.sequence))
        )


def use_up(sysroot: Sysroot, number: int) -> None:
    """What the loader does when a deployment does not come up."""
    for menu_entry in read_state(sysroot).menu.entries_of(number):
        name = EntryName(sequence=menu_entry.name.sequence, tries_left=0, tries_used=3)
        old = sysroot.entries / format_entry_name(menu_entry.name)
        old.rename(sysroot.entries / format_entry_name(name))


def go(sysroot: Sysroot, request: UpgradeRequest = UPGRADE) -> int:
    staged = upgrade(sysroot, request, NullReporter())
    assert staged.deployment is not None and staged.warning is None
    check_machine(sysroot)
    return staged.deployment.number


def back(sysroot: Sysroot, which: str | None = None, *, keep_etc: bool = False) -> int:
    found = rollback(sysroot, which, NullReporter(), keep_etc=keep_etc)
    check_machine(sysroot)
    return found.number


def default(sysroot: Sysroot) -> tuple[int, str]:
    found = read_state(sysroot).default
    assert found is not None
    return found.number, found.deployment.version


def settings(sysroot: Sysroot, number: int, path: str) -> str | None:
    node = node_at(read_machine_etc(sysroot, number).live, path)
    return None if node is None else node.entry.read().decode()


def set_setting(sysroot: Sysroot, number: int, path: str, text: str) -> None:
    write(sysroot.deployments / str(number) / "etc/upper", {path: text})


def test_an_upgrade_boots_next_and_is_counted(maker: Maker, machine: Sysroot) -> None:
    new = maker.publish("2")
    assert check_upgrade(machine, UPGRADE).tree == new.tree
    assert go(machine) == 2
    state = read_state(machine)
    assert state.default is not None and state.default.deployment.tree == new.tree
    assert [format_entry_name(each.name) for each in state.menu.entries] == [
        "atoll-2+3.conf",
        "atoll-1.conf",
    ]
    assert state.deployments[1].fallback
    (event,) = read_history(machine.state)
    assert (event.what, event.deployment, event.was, event.version) == ("upgrade", 2, 1, "2")
    with pytest.raises(NothingToDo, match="newest"):
        upgrade(machine, UPGRADE, NullReporter())


def test_only_what_is_missing_is_written(maker: Maker, machine: Sysroot) -> None:
    before = objects_there(machine)
    kernels = {path: path.stat().st_ino for path in machine.esp.rglob("linux")}
    maker.publish("2")
    go(machine)
    assert len(objects_there(machine) - before) == 2, "image.json and version; all else is here"
    assert {path: path.stat().st_ino for path in machine.esp.rglob("linux")} == kernels


def test_the_same_tree_from_elsewhere_is_followed_from_now_on(maker: Maker, tmp_path: Path) -> None:
    """A machine that was installed from a store could otherwise never follow what it runs."""
    one = maker.publish("1")
    machine = maker.install(tmp_path / "machine", one, follow="store:hello")
    with pytest.raises(Refused, match="follows no image"):
        upgrade(machine, UPGRADE, NullReporter())
    followed = maker.follow("hello")
    assert go(machine, UpgradeRequest(verb="rebase", image=followed)) == 2
    assert read_origin(machine, 2).image == followed
    with pytest.raises(NothingToDo):
        upgrade(machine, UPGRADE, NullReporter())
    new = maker.publish("2")
    assert check_upgrade(machine, UPGRADE).tree == new.tree


def test_the_table_of_contents_is_let_go_before_staging(maker: Maker, machine: Sysroot) -> None:
    """Of a large image it is tens of megabytes, and staging needs as much again."""
    held: dict[str, int] = {}

    class Watching(NullReporter):
        @contextmanager
        def step(self, title: str) -> Iterator[None]:  # type: ignore[explicit-override]
            held[title.split()[0]] = sum(
                isinstance(each, TableOfContents) for each in gc.get_objects()
            )
            yield

    maker.publish("2")
    upgrade(machine, UPGRADE, Watching())
    assert held["Fetching"] and not held["Staging"]


def test_what_a_person_changed_comes_along(maker: Maker, machine: Sysroot) -> None:
    set_setting(machine, 1, "ssh/sshd_config", "Port 2222\n")
    set_setting(machine, 1, "mine.conf", "mine\n")
    maker.publish("2", {"etc/motd": "two\n", "etc/new.conf": "new\n"})
    go(machine)
    assert settings(machine, 2, "ssh/sshd_config") == "Port 2222\n"
    assert settings(machine, 2, "mine.conf") == "mine\n"
    assert settings(machine, 2, "motd") == "two\n"
    assert settings(machine, 2, "new.conf") == "new\n"
    assert settings(machine, 1, "motd") == "hello\n"


def test_a_rebase_leaves_nothing_of_the_old_image(maker: Maker, machine: Sysroot) -> None:
    set_setting(machine, 1, "mine.conf", "mine\n")
    other = maker.publish("9", {"etc/kde.conf": "kde\n"}, name="kde", kernel="6.13-two")
    number = go(machine, UpgradeRequest(verb="rebase", image=other.reference))
    etc = read_machine_etc(machine, number)
    assert settings(machine, number, "kde.conf") == "kde\n"
    assert settings(machine, number, "mine.conf") == "mine\n"
    assert {path for path, _ in etc.changes} == {"mine.conf"}
    bless(machine, number)
    maker.publish("10", name="kde", kernel="6.13-two")
    with pytest.raises(NothingToDo):
        upgrade(machine, UPGRADE, NullReporter())  # it follows the tag that it was rebased to
    go(machine, UpgradeRequest(verb="rebase", image=maker.follow("kde")))
    maker.publish("11", name="kde", kernel="6.13-two")
    assert default(machine)[1] == "10"
    bless(machine, 3)
    go(machine)
    assert default(machine)[1] == "11"


def test_going_back_holds_what_was_fled(maker: Maker, machine: Sysroot) -> None:
    maker.publish("2")
    bless(machine, go(machine))
    assert back(machine) == 1
    state = read_state(machine)
    left_behind = state.find(2)
    assert left_behind is not None and left_behind.held and not left_behind.fallback
    assert [each.name.is_bad for each in state.menu.entries_of(2)] == [True]
    assert [each.name.tries_left for each in state.menu.entries_of(1)] == [None]
    with pytest.raises(Refused, match="held on this machine: rolled back"):
        upgrade(machine, UPGRADE, NullReporter())
    maker.publish("3")
    assert go(machine) == 3


def test_going_back_can_be_undone(maker: Maker, machine: Sysroot) -> None:
    maker.publish("2")
    bless(machine, go(machine))
    back(machine)
    assert back(machine, "2") == 2
    found = read_state(machine).find(2)
    assert found is not None and found.default and not found.held
    older = read_state(machine).find(1)
    assert older is not None and older.fallback and not older.held
    with pytest.raises(NothingToDo):
        rollback(machine, "2", NullReporter(), keep_etc=False)


def test_going_back_names_a_version_a_number_or_a_day(maker: Maker, machine: Sysroot) -> None:
    for version in ("2", "3"):
        maker.publish(f"v{version}")
        bless(machine, go(machine))
    assert back(machine, "v2") == 2
    assert back(machine, "3") == 3
    assert back(machine, "yesterday") == 1
    with pytest.raises(NotFound, match="no deployment or version nine"):
        back(machine, "nine")


def test_the_older_system_can_keep_todays_settings(maker: Maker, machine: Sysroot) -> None:
    set_setting(machine, 1, "old.conf", "old\n")
    maker.publish("2", {"etc/motd": "two\n"})
    bless(machine, go(machine))
    set_setting(machine, 2, "today.conf", "today\n")
    number = back(machine, keep_etc=True)
    assert number == 3
    assert settings(machine, 3, "today.conf") == "today\n"
    assert settings(machine, 3, "motd") == "hello\n"
    assert settings(machine, 1, "today.conf") is None
    state = read_state(machine)
    assert state.default is not None and state.default.deployment.version == "1"
    held = state.find(2)
    assert held is not None and held.held


def test_cancel_makes_it_as_it_was(maker: Maker, machine: Sysroot) -> None:
    before = objects_there(machine)
    maker.publish("2")
    go(machine)
    assert cancel(machine, NullReporter()).dropped == ("hello 2 (2)",)
    check_machine(machine)
    assert default(machine) == (1, "1")
    collect_garbage(machine, None, NullReporter())
    assert objects_there(machine) == before
    with pytest.raises(NothingToDo):
        cancel(machine, NullReporter())
    assert go(machine) == 3, "numbers are never given twice"


def test_download_only_changes_nothing_that_boots(maker: Maker, machine: Sysroot) -> None:
    new = maker.publish("2")
    request = UpgradeRequest(verb="upgrade", download_only=True)
    assert upgrade(machine, request, NullReporter()).deployment is None
    assert default(machine) == (1, "1")
    preview = preview_upgrade(machine, UPGRADE)
    assert preview.candidate.is_here and preview.etc is not None and preview.candidate.fetch == 0
    collect_garbage(machine, None, NullReporter())
    assert preview_upgrade(machine, UPGRADE).candidate.is_here, "what was fetched is kept"
    go(machine)
    assert read_state(machine).deployments[0].deployment.tree == new.tree


def test_what_is_foreseen_is_what_is_done(maker: Maker, machine: Sysroot) -> None:
    maker.publish("2", packages={"bash": "5.3", "vim": "9"})
    preview = preview_upgrade(machine, UPGRADE)
    assert preview.packages is not None
    assert preview.packages.changed == (("bash", "5.2", "5.3"),)
    assert preview.packages.added == (("vim", "9"),)
    assert preview.candidate.fetch > 0 and preview.obstacle is None
    assert preview.etc is not None and not preview.etc.conflicts
    assert default(machine) == (1, "1")


def test_what_the_machine_made_is_not_called_a_change_of_a_persons(
    maker: Maker, machine: Sysroot, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.publish("2")
    for path in ("machine-id", "ssh/ssh_host_ed25519_key", ".pwd.lock", "passwd-", "ld.so.cache"):
        set_setting(machine, 1, path, "made\n")
    assert preview_upgrade(machine, UPGRADE).changed_here == 0
    assert main(["plan", "--root", str(machine.root)]) == 0
    assert "kept: the keys and IDs of this machine\n" in capsys.readouterr().out
    set_setting(machine, 1, "motd", "mine\n")
    assert preview_upgrade(machine, UPGRADE).changed_here == 1
    assert main(["plan", "--root", str(machine.root)]) == 0
    assert "kept: 1 change of yours and the keys and IDs of this machine" in capsys.readouterr().out


def test_conflicts_are_foreseen_before_anything_is_fetched(maker: Maker, machine: Sysroot) -> None:
    long = "".join(f"line {number} of what the image has\n" for number in range(40))
    set_setting(machine, 1, "motd", "mine\n")
    maker.publish("2", {"etc/motd": long})
    objects = objects_there(machine)
    preview = preview_upgrade(machine, UPGRADE)
    assert preview.etc is not None
    assert [each.path for each in preview.etc.conflicts] == ["motd"]
    assert objects_there(machine) == objects
    staged = upgrade(machine, UPGRADE, NullReporter())
    assert staged.merge is not None and staged.merge.conflicts == preview.etc.conflicts


def test_policy_keeps_three_and_what_is_pinned(maker: Maker, machine: Sysroot) -> None:
    set_pin(machine, 1, pinned=True)
    for version in range(2, 8):
        maker.publish(str(version))
        bless(machine, go(machine))
    numbers = [each.number for each in read_state(machine).deployments]
    assert numbers == [7, 6, 1]
    assert objects_there(machine) == objects_needed(machine), "no space is lost"
    set_pin(machine, 1, pinned=False)
    collect_garbage(machine, 1, NullReporter())
    assert [each.number for each in read_state(machine).deployments] == [7, 6]
    check_machine(machine)


def test_the_machine_file_says_how_many_stay(maker: Maker, machine: Sysroot) -> None:
    text = 'schema = 1\n[keep]\ndeployments = 2\n[etc]\n"motd" = "local"\n'
    set_setting(machine, 1, "atoll/machine.toml", text)
    set_setting(machine, 1, "motd", "mine\n")
    for version in range(2, 5):
        maker.publish(str(version), {"etc/motd": f"{version}\n"})
        bless(machine, go(machine))
    assert [each.number for each in read_state(machine).deployments] == [4, 3]
    assert settings(machine, 4, "motd") == "mine\n"


def test_a_long_life_keeps_every_promise_and_loses_no_space(maker: Maker, machine: Sysroot) -> None:
    """Ten upgrades, two rebases, three rollbacks; the machine is checked after each."""
    set_setting(machine, 1, "mine.conf", "mine\n")
    kde = maker.publish("kde-1", {"etc/kde.conf": "kde\n"}, name="kde", kernel="6.13-two")
    last = 1
    for version in range(2, 12):
        maker.publish(str(version), kernel=f"6.{version // 3}-x")
        last = go(machine)
        bless(machine, last)
        if version in (4, 7, 10):
            gone_back = back(machine)
            assert gone_back != last and settings(machine, gone_back, "mine.conf") == "mine\n"
        if version == 6:
            bless(machine, go(machine, UpgradeRequest(verb="rebase", image=kde.reference)))
            last = go(machine, UpgradeRequest(verb="rebase", image=maker.follow(), even_held=True))
            bless(machine, last)
            assert settings(machine, last, "kde.conf") is None
        collect_garbage(machine, None, NullReporter())
        check_machine(machine)
        assert objects_there(machine) == objects_needed(machine), "no space is lost"
        assert settings(machine, default(machine)[0], "mine.conf") == "mine\n"
    assert default(machine)[1] == "11"
    assert len(read_state(machine).deployments) == 3
    assert len([*machine.entries.iterdir()]) == 3
    what = [event.what for event in read_history(machine.state)]
    assert (what.count("upgrade"), what.count("rebase"), what.count("rollback")) == (10, 2, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema = ", "is not TOML"),
        ("schema = 2\n", "reads schema 1, not 2"),
        ("schema = 1\n[keep]\ndeployments = 1\n", "keep.deployments: must be at least 2"),
        ("schema = 1\n[kepe]\n", "kepe: unknown key"),
        ('schema = 1\n[etc]\n"../x" = "local"\n', "not a path below /etc"),
        ('schema = 1\n[etc]\nmotd = "mine"\n', "is not one of: image, local, merge"),
    ],
)
def test_a_machine_file_that_is_wrong_stops_all(
    maker: Maker, machine: Sysroot, text: str, message: str
) -> None:
    set_setting(machine, 1, "atoll/machine.toml", text)
    maker.publish("2")
    with pytest.raises(RecipeError, match=message) as caught:
        upgrade(machine, UPGRADE, NullReporter())
    assert "/etc/atoll/machine.toml" in caught.value.message
    assert default(machine) == (1, "1")


def test_a_bad_version_gives_way_and_a_newer_one_comes(maker: Maker, machine: Sysroot) -> None:
    maker.publish("2")
    go(machine)
    use_up(machine, 2)
    assert default(machine) == (1, "1")
    maker.publish("3")
    assert go(machine) == 3
    check_machine(machine)


def test_no_space_is_told_before_anything_is_fetched(
    maker: Maker, machine: Sysroot, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker.publish("2")
    for free, where in (
        (Space(state=10, esp=1 << 30), "state partition"),
        (Space(state=1 << 40, esp=10), "ESP"),
    ):
        monkeypatch.setattr("atoll.machine.upgrade_check.measure_free", lambda _, free=free: free)
        before = objects_there(machine)
        with pytest.raises(NoSpace, match=where) as caught:
            upgrade(machine, UPGRADE, NullReporter())
        assert caught.value.hint
        assert objects_there(machine) == before
    check_machine(machine)


def test_two_operations_at_once_are_refused(maker: Maker, machine: Sysroot) -> None:
    maker.publish("2")
    with (
        locked(machine.state / "lock", what="it"),
        pytest.raises(Busy, match="another operation is running"),
    ):
        upgrade(machine, UPGRADE, NullReporter())


def test_a_machine_that_follows_nothing_says_what_to_do(maker: Maker, tmp_path: Path) -> None:
    image = maker.publish("1")
    machine = maker.install(tmp_path / "other", image, follow=image.tree)
    with pytest.raises(Refused, match="follows no image") as caught:
        upgrade(machine, UPGRADE, NullReporter())
    assert "atoll rebase" in (caught.value.hint or "")


def test_a_damaged_deployment_is_told_and_stays_until_a_person_says_so(
    maker: Maker, machine: Sysroot
) -> None:
    for version in ("2", "3"):
        maker.publish(version)
        bless(machine, go(machine))
    (machine.deployments / "1/deployment.json").write_text("{")
    assert "deployments/1" in read_state(machine).damaged[0]
    collect_garbage(machine, 1, NullReporter())
    assert (machine.deployments / "1/etc/upper").is_dir()
    collect_garbage(machine, None, NullReporter(), damaged=True)
    check_machine(machine)
    assert not (machine.deployments / "1").exists()
    (machine.deployments / "3/deployment.json").write_text("{")
    with pytest.raises(Refused, match="deployments/3"):
        require_current(read_state(replace(machine, booted=3)))


def test_what_is_put_among_deployments_is_told_or_ignored(maker: Maker, machine: Sysroot) -> None:
    (machine.deployments / "7").write_text("a file")
    (machine.deployments / "8").symlink_to("/nowhere")
    for name in ("007", "0", "9" * 30, "notes", "٣"):
        (machine.deployments / name).mkdir()
    state = read_state(machine)
    assert state.damaged_numbers == {7, 8} and len(state.deployments) == 1
    maker.publish("2")
    staged = upgrade(machine, UPGRADE, NullReporter())
    assert staged.deployment is not None and staged.deployment.number == 9
    assert read_state(machine).damaged_numbers == {7, 8}
    assert staged.warning is None, "what is no directory needs no contents"
    assert (machine.deployments / "notes").is_dir()


def test_foreign_entries_are_left_alone(maker: Maker, machine: Sysroot) -> None:
    for name, text in (("windows.conf", "efi /x\n"), ("atoll-50.conf", "linux /x\nversion 1\n")):
        (machine.entries / name).write_text(text)
    maker.publish("2")
    upgrade(machine, UPGRADE, NullReporter())
    assert (machine.entries / "windows.conf").exists()
    assert (machine.entries / "atoll-50.conf").exists()
    assert (machine.entries / "atoll-51+3.conf").exists(), "no number is used twice"


def test_an_empty_menu_is_no_reason_to_remove_anything(maker: Maker, machine: Sysroot) -> None:
    maker.publish("2")
    go(machine)
    for path in machine.entries.iterdir():
        path.unlink()
    with pytest.raises(Refused, match="damaged"):
        collect_garbage(machine, None, NullReporter())
    assert {path.name for path in machine.deployments.iterdir()} == {"1", "2"}


def test_ids_that_others_have_here_are_refused(maker: Maker, machine: Sysroot) -> None:
    set_setting(
        machine,
        1,
        "passwd",
        "root:x:0:0:root:/root:/bin/bash\nsshd:x:101:65534::/run/sshd:/usr/sbin/nologin\n"
        "me:x:102:102::/home/me:/bin/sh\n",
    )
    theirs = (
        "root:x:0:0:root:/root:/bin/bash\nsshd:x:101:65534::/run/sshd:/usr/sbin/nologin\n"
        "ntp:x:102:102::/:/usr/sbin/nologin\n"
    )
    maker.publish("2", {"etc/passwd": theirs})
    with pytest.raises(Refused, match="needs ids"):
        upgrade(machine, UPGRADE, NullReporter())
    assert default(machine) == (1, "1")
    read_state(machine)


def test_the_commands_say_what_they_did(
    maker: Maker, machine: Sysroot, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.publish("2", packages={"bash": "5.3"})
    root = ["--root", str(machine.root)]

    def run(*words: str) -> str:
        assert main([*words, *root]) == 0, capsys.readouterr().err
        told = capsys.readouterr()
        assert all(len(line) <= 200 for line in told.out.splitlines())
        return told.out

    assert "hello 2 is available" in run("upgrade", "--check")
    planned = run("plan")
    assert "hello 1 (1) → hello 2" in planned and "changed  bash 5.2 → 5.3" in planned
    assert json.loads(run("plan", "--json"))["packages"]["changed"][0]["to"] == "5.3"
    run("upgrade", "--download-only")
    assert json.loads(run("upgrade", "--json"))["deployment"] == 2
    assert main(["upgrade", *root]) == 77
    assert "2" in run("status")
    run("pin", "1")
    assert main(["pin", "1", *root]) == 77
    run("unpin", "1")
    assert "upgrade" in run("history")
    assert json.loads(run("history", "--json"))["events"][0]["deployment"] == 2
    run("cancel")
    assert main(["cancel", *root]) == 77
    run("gc", "--dry-run")
    assert json.loads(run("gc", "--json"))["deployments"] == []
    assert main(["rollback", *root]) == 7


@pytest.mark.parametrize("spoil", ["", "image = 7\n", "\x1b]0;x\x07"])
def test_an_origin_that_cannot_be_read_is_told_and_cured_by_a_rebase(
    maker: Maker, machine: Sysroot, capsys: pytest.CaptureFixture[str], spoil: str
) -> None:
    (machine.deployments / "1/origin.toml").write_text(spoil)
    root = ["--root", str(machine.root)]
    assert main(["status", *root]) == 0
    assert "atoll rebase" in capsys.readouterr().err
    assert main(["upgrade", *root]) == 8
    assert "atoll rebase" in capsys.readouterr().err
    # The same image: nothing is new in it but that it is followed.
    assert main(["rebase", maker.follow(), *root]) == 0
    assert read_origin(machine, 2).image == maker.follow()


def test_going_back_needs_no_origin(maker: Maker, machine: Sysroot) -> None:
    maker.publish("2", kernel="6.13-two")
    upgrade(machine, UPGRADE, NullReporter())
    bless(machine, 2)
    (machine.deployments / "1/origin.toml").unlink()
    assert main(["rollback", "number:1", "--keep-etc", "--root", str(machine.root)]) == 0
    assert read_state(machine).default is not None
    assert main(["upgrade", "--root", str(machine.root)]) == Refused.exit_code


@pytest.mark.parametrize("verb", [["upgrade"], ["gc"], ["plan"]])
def test_a_list_of_conflicts_that_cannot_be_read_stops_nothing(
    maker: Maker, machine: Sysroot, verb: list[str]
) -> None:
    maker.publish("2", kernel="6.13-two")
    write(machine.state, {"conflicts/1/list.json": "noise"})
    assert main([*verb, "--root", str(machine.root)]) == 0
    assert (machine.state / "conflicts/1/list.json").read_text() == "noise"
