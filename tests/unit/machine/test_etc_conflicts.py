"""Conflicts: kept with what the image has, carried from deployment to deployment until settled."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from atoll.machine.deployments.apply import apply_operations
from atoll.machine.etc.conflicts import keep_open_conflicts, plan_conflicts, read_conflicts
from atoll.machine.etc.etc_tree import Node
from atoll.machine.etc.merge import Conflict, Merge, plan_merge
from tests.unit.machine.etc_trees import Dir, File, Link, What, etc, shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def owned(node: Node) -> Node:
    """As whoever runs the test can write it."""
    entry = replace(node.entry, uid=os.getuid(), gid=os.getgid())
    return Node(entry, {name: owned(child) for name, child in node.children.items()})


CONFLICTS = (
    Conflict(path="d", why="mode", image=owned(etc(d=Dir(0o700)).children["d"]), attributes=True),
    Conflict(path="d/a", why="content", image=owned(Node(etc(a="1\n").children["a"].entry))),
    Conflict(
        path="e", why="kind", image=owned(etc({"e/x/y": Link("z"), "e/w": "2"}).children["e"])
    ),
    Conflict(path="gone", why="removed", image=None),
    Conflict(path="s", why="mode", image=owned(etc(s=File("secret", 0o600)).children["s"])),
)


@pytest.mark.parametrize("order", [1, -1])
def test_what_is_kept_is_read_again(tmp_path: Path, order: int) -> None:
    place = tmp_path / "conflicts/7"
    apply_operations(plan_conflicts(CONFLICTS[::order], place))
    found = read_conflicts(place)
    assert found == CONFLICTS[::order]
    assert shown(found[0].image) == shown(CONFLICTS[::order][0].image)
    assert place.stat().st_mode & 0o777 == 0o700


def test_every_cut_leaves_the_old_list_or_the_new(tmp_path: Path) -> None:
    for end in (CONFLICTS[1:3], ()):
        count = len(plan_conflicts(end, tmp_path / "x"))
        for cut in range(count + 1):
            place = tmp_path / f"{len(end)}-{cut}"
            apply_operations(plan_conflicts(CONFLICTS, place))
            apply_operations(plan_conflicts(end, place)[:cut])
            assert read_conflicts(place) in (CONFLICTS, end)
            apply_operations(plan_conflicts(end, place))
            assert read_conflicts(place) == end
            assert not place.with_name(f"{place.name}.new").exists()


def upgrade(
    old: Mapping[str, What], live: Node, new: Mapping[str, What], earlier: tuple[Conflict, ...]
) -> tuple[Merge, list[tuple[str, object]]]:
    merge = plan_merge(etc(old), live, etc(new))
    conflicts = keep_open_conflicts(earlier, merge, etc(new))
    images: list[tuple[str, object]] = [
        (each.path, shown(each.image).get("") if each.image else None) for each in conflicts
    ]
    return replace(merge, conflicts=conflicts), images


def test_an_open_conflict_is_carried_from_version_to_version() -> None:
    one, two, three = {"a": "1\n", "b": "1\n"}, {"a": "2\n", "b": "2\n"}, {"a": "2\n", "b": "3\n"}
    first, images = upgrade(one, etc(a="mine\n", b="mine\n"), two, ())
    assert images == [("a", "2\n"), ("b", "2\n")]
    second, images = upgrade(two, first.result, three, first.conflicts)
    assert images == [("a", "2\n"), ("b", "3\n")]
    # Whoever takes the image's by hand has settled it.
    _, images = upgrade(three, etc(a="2\n", b="mine\n"), three, second.conflicts)
    assert images == [("b", "3\n")]


def test_what_is_merged_later_shows_the_newest_of_the_image() -> None:
    one, two = {"a": "1\n2\n3\n"}, {"a": "one\n2\n3\n"}
    first, _ = upgrade(one, etc(a="eins\n2\n3\n"), two, ())
    three: dict[str, What] = {"a": "one\n2\nthree\n"}
    second, images = upgrade(two, first.result, three, first.conflicts)
    assert shown(second.result) == {"a": "eins\n2\nthree\n"}
    assert images == [("a", "one\n2\nthree\n")]


def test_a_conflict_of_attributes_ends_with_them() -> None:
    image = Node(etc(d=Dir(0o750)).children["d"].entry)
    conflict = Conflict(path="d", why="mode", image=image, attributes=True)
    tree: dict[str, What] = {"d": Dir(0o750), "d/x": "1"}
    for mode, left in ((0o700, 1), (0o750, 0)):
        live = etc({"d": Dir(mode), "d/x": "1"})
        assert len(upgrade(tree, live, tree, (conflict,))[0].conflicts) == left
