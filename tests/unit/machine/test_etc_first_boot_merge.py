"""The second merge: what changed since staging comes along, all else stays as it was staged."""

from __future__ import annotations

from hypothesis import given

from atoll.machine.etc.etc_tree import Node, node_at, replaced
from atoll.machine.etc.first_boot_merge import find_changed, merge_changed
from atoll.machine.etc.merge import plan_merge
from tests.unit.machine.etc_trees import etc, shown
from tests.unit.machine.test_etc_merge import views

SHADOW = "root:*:1::::::\njoe:{}:1::::::\n"


def test_a_password_and_a_network_come_along() -> None:
    old = etc({"shadow": SHADOW.format("old"), "motd": "1\n"})
    staged_from = etc({"shadow": SHADOW.format("old"), "motd": "mine\n"})
    new = etc({"shadow": SHADOW.format("old") + "ntp:!:2::::::\n", "motd": "2\n", "v2": "x"})
    first = plan_merge(old, staged_from, new)
    live = etc(
        {
            "shadow": SHADOW.format("changed"),
            "motd": "mine\n",
            "NetworkManager/system-connections/home": "psk=1\n",
        }
    )
    changed = find_changed(staged_from, live)
    assert changed == (
        "NetworkManager",
        "NetworkManager/system-connections",
        "NetworkManager/system-connections/home",
        "shadow",
    )
    # The person took the image's motd in the staged deployment; the second merge leaves that.
    staged = replaced(first.result, "motd", node_at(new, "motd"))
    again = merge_changed(staged, (), plan_merge(old, live, new), changed)
    assert shown(again.result) == {
        "shadow": SHADOW.format("changed") + "ntp:!:2::::::\n",
        "motd": "2\n",
        "v2": "x",
        "NetworkManager/system-connections/home": "psk=1\n",
    }
    assert not again.conflicts


def test_conflicts_of_changed_paths_are_told_anew() -> None:
    old, new = etc(a="1\n", b="1\n", c="1\n"), etc(a="2\n", b="2\n", c="2\n")
    first_live, live = etc(a="3\n", b="3\n", c="1\n"), etc(a="3\n", b="1\n", c="3\n")
    first = plan_merge(old, first_live, new)
    changed = find_changed(first_live, live)
    again = merge_changed(first.result, first.conflicts, plan_merge(old, live, new), changed)
    assert [each.path for each in again.conflicts] == ["a", "c"]
    assert shown(again.result) == {"a": "3\n", "b": "2\n", "c": "3\n"}


def test_directories_that_come_and_go_between_the_merges() -> None:
    for old, before, live, new in (
        ({"d": "1"}, {}, {"d/a": "1"}, {"d/b": "1"}),
        ({"d": "1"}, {"d/b": "1"}, {}, {"d/a": "1"}),
        ({"d/b": "2"}, {"d/b": "1"}, {"d/b": "2"}, {}),
    ):
        first, fresh = (plan_merge(etc(old), etc(each), etc(new)) for each in (before, live))
        changed = find_changed(etc(before), etc(live))
        again = merge_changed(first.result, first.conflicts, fresh, changed)
        assert again.result == fresh.result
        assert again.conflicts == fresh.conflicts


@given(views(), views(), views(), views())
def test_staging_and_the_second_merge_make_what_one_late_merge_makes(
    old: Node, before: Node, live: Node, new: Node
) -> None:
    first, fresh = plan_merge(old, before, new), plan_merge(old, live, new)
    again = merge_changed(first.result, first.conflicts, fresh, find_changed(before, live))
    assert again.result == fresh.result
    assert again.conflicts == tuple(sorted(fresh.conflicts, key=lambda each: each.path))
    assert merge_changed(again.result, again.conflicts, fresh, find_changed(before, live)) == again
