"""The merge of /etc: every case once by name, then all of them against a table."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.machine.etc.etc_tree import Node, node_at
from atoll.machine.etc.merge import Merge, MergeOutcome, plan_merge
from atoll.tree.etc_rules import parse_rule
from tests.unit.machine.etc_trees import Dir, File, Link, What, etc, shown

CONF = "[main]\nport=1\n\n[log]\nlevel=info\n"


def certificates(*names: str) -> str:
    return "".join(
        f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n" for name in names
    )


def conflicts(merge: Merge) -> list[tuple[str, str]]:
    return [(each.path, each.why) for each in merge.conflicts]


def outcomes(merge: Merge) -> dict[str, str]:
    return {each.path: each.outcome.value for each in merge.decisions}


WANTS = "systemd/system/multi-user.target.wants"
CLEAN: dict[str, tuple[dict[str, What], dict[str, What], dict[str, What], dict[str, What]]] = {
    # name: old, live, new, result
    "nothing changed": ({"a": "1"}, {"a": "1"}, {"a": "1"}, {"a": "1"}),
    "the image changed": ({"a": "1"}, {"a": "1"}, {"a": "2"}, {"a": "2"}),
    "a person changed": ({"a": "1"}, {"a": "2"}, {"a": "1"}, {"a": "2"}),
    "both alike": ({"a": "1"}, {"a": "2"}, {"a": "2"}, {"a": "2"}),
    "a drop-in was added": (
        {"ssh/sshd_config": "x"},
        {"ssh/sshd_config": "x", "ssh/sshd_config.d/mine.conf": "PermitRootLogin no\n"},
        {"ssh/sshd_config": "y"},
        {"ssh/sshd_config": "y", "ssh/sshd_config.d/mine.conf": "PermitRootLogin no\n"},
    ),
    "a unit was disabled": (
        {f"{WANTS}/a": Link("/a"), f"{WANTS}/b": Link("/b")},
        {f"{WANTS}/a": Link("/a")},
        {f"{WANTS}/a": Link("/a"), f"{WANTS}/b": Link("/b"), f"{WANTS}/c": Link("/c")},
        {f"{WANTS}/a": Link("/a"), f"{WANTS}/c": Link("/c")},
    ),
    "a certificate authority was added at the end, and one removed": (
        {"ssl/certs/ca-certificates.crt": certificates("a", "b", "c")},
        {"ssl/certs/ca-certificates.crt": certificates("a", "c", "mine")},
        {"ssl/certs/ca-certificates.crt": certificates("b", "c", "d")},
        {"ssl/certs/ca-certificates.crt": certificates("c", "d", "mine")},
    ),
    "a machine has its own keys, and so has the image": (
        {"nvme/hostnqn": "image 1", "hostid": "1"},
        {"nvme/hostnqn": "mine", "hostid": "1", "ssh/ssh_host_rsa_key": "mine"},
        {"nvme/hostnqn": "image 2", "ssh/ssh_host_rsa_key": "image 2"},
        {"nvme/hostnqn": "mine", "hostid": "1", "ssh/ssh_host_rsa_key": "mine"},
    ),
    "the only unit was disabled, and the image adds another": (
        {f"{WANTS}/a": Link("/a"), "systemd/system.conf": "x"},
        {"systemd/system.conf": "x"},
        {f"{WANTS}/a": Link("/a"), f"{WANTS}/c": Link("/c"), "systemd/system.conf": "x"},
        {f"{WANTS}/c": Link("/c"), "systemd/system.conf": "x"},
    ),
    "the only unit was disabled": (
        {f"{WANTS}/a": Link("/a"), "systemd/system.conf": "x"},
        {"systemd/system.conf": "x"},
        {f"{WANTS}/a": Link("/a"), "systemd/system.conf": "y"},
        {"systemd/system.conf": "y"},
    ),
    "a unit was disabled, and its link is written otherwise in the image": (
        {f"{WANTS}/a": Link("/lib/systemd/system/a"), f"{WANTS}/b": Link("/lib/systemd/system/b")},
        {f"{WANTS}/b": Link("/lib/systemd/system/b")},
        {
            f"{WANTS}/a": Link("/usr/lib/systemd/system/a"),
            f"{WANTS}/b": Link("/usr/lib/systemd/system/b"),
        },
        {f"{WANTS}/b": Link("/usr/lib/systemd/system/b")},
    ),
    "a link was written otherwise here": (
        {"a": Link("/usr/lib/a")},
        {"a": Link("/lib/a")},
        {"a": Link("/usr/lib/a")},
        {"a": Link("/lib/a")},
    ),
    "a link was turned elsewhere": (
        {"localtime": Link("UTC"), "rmt": Link("a")},
        {"localtime": Link("Berlin"), "rmt": Link("a")},
        {"localtime": Link("UTC"), "rmt": Link("b")},
        {"localtime": Link("Berlin"), "rmt": Link("b")},
    ),
    "a conffile was changed on both sides": (
        {"app.conf": CONF},
        {"app.conf": CONF.replace("port=1", "port=2")},
        {"app.conf": CONF.replace("info", "warning")},
        {"app.conf": CONF.replace("port=1", "port=2").replace("info", "warning")},
    ),
    "only the mode was changed here, the content by the image": (
        {"sudo.conf": "a\n"},
        {"sudo.conf": File("a\n", 0o600)},
        {"sudo.conf": "b\n"},
        {"sudo.conf": File("b\n", 0o600)},
    ),
    "attributes one by one": (
        {"a": File("a\n")},
        {"a": File("b\n", 0o644, 7)},
        {"a": File("a\n", 0o600, 0, (("security.selinux", b"x"),))},
        {"a": File("b\n", 0o600, 7, (("security.selinux", b"x"),))},
    ),
    "a file became a directory in the image": (
        {"apt": "x"},
        {"apt": "x"},
        {"apt/conf": "y"},
        {"apt/conf": "y"},
    ),
    "a directory became a link in the image": (
        {"ssl/certs/a": "x", "ssl/b": "x"},
        {"ssl/certs/a": "x", "ssl/b": "x"},
        {"ssl": Link("/usr/lib/ssl")},
        {"ssl": Link("/usr/lib/ssl")},
    ),
    "a directory became a link, and only removals were made in it": (
        {"ssl/certs/a": "x", "ssl/b": "x"},
        {"ssl/b": "x"},
        {"ssl": Link("/usr/lib/ssl")},
        {"ssl": Link("/usr/lib/ssl")},
    ),
    "a file became a directory here": (
        {"hosts": "x"},
        {"hosts/mine": "y"},
        {"hosts": "x"},
        {"hosts/mine": "y"},
    ),
    "a directory became a file here": (
        {"grub.d/10": "x", "grub.d/20": "x"},
        {"grub.d": "none"},
        {"grub.d/10": "x", "grub.d/20": "x"},
        {"grub.d": "none"},
    ),
    "a whole directory was removed here": (
        {"apache2/conf": "x", "apache2/sites/a": "x"},
        {},
        {"apache2/conf": "x", "apache2/sites/a": "x"},
        {},
    ),
    "a whole directory was removed by the image": (
        {"apache2/conf": "x", "apache2/sites/a": "x"},
        {"apache2/conf": "x", "apache2/sites/a": "x", "apache2/sites/mine": "y"},
        {},
        {"apache2/sites/mine": "y"},
    ),
    "directories of their own on both sides": (
        {},
        {"a.d": Dir(), "b.d/x": "1"},
        {"c.d": Dir(0o750), "b.d/y": "2"},
        {"a.d": Dir(), "b.d/x": "1", "b.d/y": "2", "c.d": Dir(0o750)},
    ),
    "a directory closed here stays when the image drops it": (
        {"private": Dir(0o755)},
        {"private": Dir(0o700)},
        {},
        {"private": Dir(0o700)},
    ),
    "a directory closed by the image": (
        {"private/key": "x", "private": Dir(0o755)},
        {"private/key": "y", "private": Dir(0o755)},
        {"private/key": "x", "private": Dir(0o700)},
        {"private/key": "y", "private": Dir(0o700)},
    ),
    "the machine's id": (
        {"machine-id": "uninitialized\n"},
        {"machine-id": "0123\n"},
        {"machine-id": ""},
        {"machine-id": "0123\n"},
    ),
    "no machine's id yet": (
        {"machine-id": "uninitialized\n"},
        {},
        {"machine-id": "uninitialized\n"},
        {"machine-id": "uninitialized\n"},
    ),
    "backups of passwd": (
        {"passwd-": "1"},
        {"passwd-": "2"},
        {"passwd-": "3"},
        {"passwd-": "2"},
    ),
    "the cache of libraries": (
        {"ld.so.cache": "1"},
        {"ld.so.cache": "2"},
        {"ld.so.cache": "3"},
        {"ld.so.cache": "3"},
    ),
    "a user here, a system user in the image": (
        {"passwd": "root:x:0:0::/root:/bin/sh\n"},
        {"passwd": "root:x:0:0::/root:/bin/sh\njoe:x:1000:1000::/home/joe:/bin/sh\n"},
        {"passwd": "root:x:0:0::/root:/bin/sh\nntp:x:101:101::/:/usr/sbin/nologin\n"},
        {
            "passwd": "root:x:0:0::/root:/bin/sh\nntp:x:101:101::/:/usr/sbin/nologin\n"
            "joe:x:1000:1000::/home/joe:/bin/sh\n"
        },
    ),
}


@pytest.mark.parametrize("name", CLEAN)
def test_merges_cleanly(name: str) -> None:
    old, live, new, result = (etc(view) for view in CLEAN[name])
    merge = plan_merge(old, live, new)
    assert shown(merge.result) == shown(result)
    assert not merge.conflicts
    assert not merge.id_conflicts


CONFLICTS: dict[str, tuple[dict[str, What], dict[str, What], dict[str, What], str]] = {
    "one line on both sides": (
        {"a": "1\n"},
        {"a": "2\n"},
        {"a": "3\n"},
        "content changed here and in the image",
    ),
    "removed here, changed in the image": (
        {"a": "1\n"},
        {},
        {"a": "2\n"},
        "removed here, changed in the image",
    ),
    "changed here, removed in the image": (
        {"a": "1\n"},
        {"a": "2\n"},
        {},
        "changed here, removed in the image",
    ),
    "made on both sides": ({}, {"a": "1\n"}, {"a": "2\n"}, "content changed here and in the image"),
    "binaries": (
        {"a": "1\0\n2\n3\n"},
        {"a": "1\0\n2\n4\n"},
        {"a": "0\0\n2\n3\n"},
        "content changed here and in the image",
    ),
    "links": (
        {"a": Link("1")},
        {"a": Link("2")},
        {"a": Link("3")},
        "changed here and in the image",
    ),
    "a link here": (
        {"a": "1\n"},
        {"a": Link("2")},
        {"a": "3\n"},
        "a symlink here, a file in the image",
    ),
    "a directory in the image": (
        {"a": "1\n"},
        {"a": "2\n"},
        {"a/b": "1\n"},
        "a file here, a directory in the image",
    ),
    "a directory here": (
        {"a": "1\n"},
        {"a/b": "1\n"},
        {"a": "2\n"},
        "a directory here, a file in the image",
    ),
    "own files where the image has a link now": (
        {"a/b": "1\n"},
        {"a/b": "1\n", "a/mine": "x"},
        {"a": Link("/usr/a")},
        "a directory here, a symlink in the image",
    ),
    "removed here, a directory in the image": (
        {"a": "1\n"},
        {},
        {"a/b": "1\n"},
        "removed here, changed in the image",
    ),
    "modes": (
        {"a": File("1", 0o644)},
        {"a": File("1", 0o600)},
        {"a": File("1", 0o640)},
        "mode changed here and in the image",
    ),
    "modes of directories": (
        {"a": Dir(0o755)},
        {"a": Dir(0o700)},
        {"a": Dir(0o750)},
        "mode changed here and in the image",
    ),
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_in_a_conflict_the_machines_stays_and_the_images_is_kept_aside(name: str) -> None:
    old, live, new = (etc(view) for view in CONFLICTS[name][:3])
    merge = plan_merge(old, live, new)
    assert shown(merge.result) == shown(live)
    assert conflicts(merge) == [("a", CONFLICTS[name][3])]
    assert shown(merge.conflicts[0].image) == shown(node_at(new, "a"))
    assert outcomes(merge)["a"] == "conflict"


def test_decisions_name_what_happens_to_each_path() -> None:
    merge = plan_merge(
        etc(a="1", b="1", c="1", d="1", e="1", f="1\n2\n3\n"),
        etc(a="2", b="1", d="1", e="1", f="0\n2\n3\n", g="1"),
        etc(a="1", b="2", c="1", e="1", f="1\n2\n4\n", h="1"),
    )
    assert outcomes(merge) == {
        "a": "local",
        "b": "image",
        "c": "removed here",
        "d": "removed in the image",
        "f": "merged",
        "g": "local",
        "h": "image",
    }


@pytest.mark.parametrize(
    ("winner", "result"),
    [
        ("image", {"x/a": "3", "x/new": "1", "y": "2"}),
        ("local", {"x/a": "2", "x/mine": "1", "x/new": "1", "y": "2"}),
    ],
)
def test_a_rule_decides_for_all_below_its_pattern(winner: str, result: dict[str, What]) -> None:
    merge = plan_merge(
        etc({"x/a": "1", "x/gone": "1", "y": "1"}),
        etc({"x/a": "2", "x/mine": "1", "y": "2"}),
        etc({"x/a": "3", "x/gone": "1", "x/new": "1", "y": "1"}),
        (parse_rule("/etc/x", winner),),
    )
    expected = result | ({"x/gone": "1"} if winner == "image" else {})
    assert shown(merge.result) == shown(etc(expected))
    assert not merge.conflicts


def test_no_rule_takes_the_machines_id() -> None:
    merge = plan_merge(
        etc({"machine-id": "uninitialized\n"}),
        etc({"machine-id": "0123\n"}),
        etc({"machine-id": "uninitialized\n"}),
        (parse_rule("**", "image"),),
    )
    assert shown(merge.result) == {"machine-id": "0123\n"}


def test_an_id_never_changes_even_when_nobody_edited_the_file() -> None:
    live = etc(passwd="root:x:0:0::/root:/bin/sh\nntp:x:101:101::/:/bin/false\n")
    new = etc(passwd="root:x:0:0::/root:/bin/sh\nntp:x:102:101::/:/bin/false\n")
    merge = plan_merge(live, live, new)
    assert shown(merge.result) == shown(live)
    assert [each.describe() for each in merge.id_conflicts] == [
        "ntp has id 101 here and 102 in the image"
    ]
    assert conflicts(merge) == [("passwd", "ntp: id 101 here, 102 in the image")]


NAMES = ["a", "b", "d/a", "d/b", "d/e/a"]
LEAVES: list[What] = ["1", "2", Link("1"), File("1", 0o600)]


@st.composite
def views(draw: st.DrawFn) -> Node:
    names = draw(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(LEAVES)))
    return etc(names)


def leaves(view: Node) -> dict[str, What]:
    return {path: what for path, what in shown(view).items() if not isinstance(what, Dir)}


@given(views(), views(), views())
def test_every_leaf_is_as_the_table_says(old: Node, live: Node, new: Node) -> None:
    merge = plan_merge(old, live, new)
    result, told = leaves(merge.result), dict(conflicts(merge))
    for path in NAMES:
        o, a, b = (leaves(view).get(path) for view in (old, live, new))
        merged: What | None = a
        if a == o:
            merged = b
        elif a != b and b != o:
            merged, clash = table_of_files(o, a, b)
            assert (path in told) == clash
        assert result.get(path) == merged


def table_of_files(o: What | None, a: What | None, b: What | None) -> tuple[What | None, bool]:
    """Attributes are merged one by one, the contents here are never mergeable lines."""
    if isinstance(a, Link) or isinstance(b, Link) or a is None or b is None:
        return a, True
    plain = [
        File(each) if isinstance(each, str) else each if isinstance(each, File) else None
        for each in (o, a, b)
    ]
    base, mine, theirs = plain
    assert mine is not None
    assert theirs is not None
    merged = []
    for index in (0, 1):
        before, here, there = (
            None if each is None else each[index] for each in (base, mine, theirs)
        )
        if here != there and before not in (here, there):
            return a, True
        merged.append(there if here == before else here)
    text, mode = merged
    return (str(text) if mode == 0o644 else File(str(text), int(str(mode)))), False


@given(views(), views(), views())
def test_the_result_merged_again_is_the_result(old: Node, live: Node, new: Node) -> None:
    result = plan_merge(old, live, new).result
    assert plan_merge(new, result, new).result == result
    assert not plan_merge(new, result, new).conflicts


@given(views(), views())
def test_one_side_only(before: Node, after: Node) -> None:
    assert leaves(plan_merge(before, before, after).result) == leaves(after)
    assert leaves(plan_merge(before, after, before).result) == leaves(after)
    assert plan_merge(before, after, after).result == after
    assert plan_merge(before, before, after).result == after
    assert plan_merge(before, after, before).result == after


KINDS: list[dict[str, What]] = [
    {},
    {"p": "1"},
    {"p": "2"},
    {"p": Link("1")},
    {"p": Dir()},
    {"p": Dir(0o700)},
    {"p/a": "1"},
    {"p/a": "2", "p/b": "1"},
]


def test_whatever_the_three_are_nothing_of_the_machine_is_lost_unsaid() -> None:
    for old, live, new in product(KINDS, repeat=3):
        merge = plan_merge(etc(old), etc(live), etc(new))
        result, told = shown(merge.result), dict(conflicts(merge))
        for path, what in live.items():
            if old.get(path) != what and not isinstance(what, Dir):
                assert result.get(path) == what, (old, live, new)
        for path, what in new.items():
            if old.get(path) != what and result.get(path) != what and not isinstance(what, Dir):
                assert any(path == each or path.startswith(f"{each}/") for each in told), (
                    old,
                    live,
                    new,
                )
        assert all(each.outcome in MergeOutcome for each in merge.decisions)
