"""Comparison of two systems: symmetric, and with reasons for what is unknown."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from atoll.base.ids import TreeId
from atoll.inspect.diff import FACETS, Description, compare_systems
from atoll.tree.compare import Aspect, ChangeKind
from atoll.tree.model import Directory, Metadata, Node, Regular
from tests.unit.tree.trees import trees

NAMES = st.sampled_from(["a", "b", "c 1", "d\n"])
VALUES = st.sampled_from(["1", "2", "1:2-3", ""])
SIDES = st.builds(
    Description,
    title=NAMES,
    what=st.sampled_from(["tree", "image", "recipe", "lock"]),
    tree=st.sampled_from([None, TreeId("a" * 64), TreeId("b" * 64)]),
    facets=st.dictionaries(st.sampled_from(FACETS), st.dictionaries(NAMES, VALUES)),
    unknown=st.dictionaries(st.sampled_from([*FACETS, "files"]), st.just("nobody says")),
    sizes=st.dictionaries(NAMES, st.integers(0, 10**12)),
    sizes_of=st.sampled_from(["installed", "package files"]),
    files=st.one_of(st.none(), trees()),
)
META = Metadata(mode=0o644, mtime=5)


def root_of(**entries: Node) -> Directory:
    return Directory(META, {name.encode(): node for name, node in entries.items()})


@given(SIDES, SIDES)
def test_one_direction_is_the_mirror_of_the_other(one: Description, other: Description) -> None:
    there, back = compare_systems(one, other), compare_systems(other, one)
    assert there == back.mirrored()
    assert there.is_equal == back.is_equal
    assert there.mirrored().mirrored() == there


@given(SIDES)
def test_a_system_is_like_itself(one: Description) -> None:
    found = compare_systems(one, one)
    assert found.is_equal
    assert not any(found.facets.values())
    assert not found.files


def test_packages_come_with_sizes() -> None:
    before = Description(
        title="a",
        what="tree",
        facets={"packages": {"same": "1", "gone": "1", "up": "1"}},
        sizes={"gone": 10, "up": 5},
    )
    after = Description(
        title="b",
        what="tree",
        facets={"packages": {"same": "1", "new": "3", "up": "2"}},
        sizes={"new": 7, "up": 9, "same": 4},
    )
    changes = compare_systems(before, after).facets["packages"]
    assert [(each.name, each.kind, each.growth) for each in changes] == [
        ("gone", ChangeKind.REMOVED, -10),
        ("new", ChangeKind.ADDED, 7),
        ("up", ChangeKind.CHANGED, 4),
    ]
    unlike = compare_systems(before, replace(after, sizes_of="package files"))
    assert [each.growth for each in unlike.facets["packages"]] == [None] * 3


def test_other_files_of_the_same_version_are_told_alone() -> None:
    one = Description(title="a", what="lock", facets={"package_files": {"x 1": "aa", "y 1": "bb"}})
    two = Description(title="b", what="lock", facets={"package_files": {"x 1": "cc", "y 2": "dd"}})
    found = compare_systems(one, two)
    assert [each.name for each in found.facets["package_files"]] == ["x 1"]
    assert not found.is_equal


def test_what_cannot_be_known_is_said_of_each() -> None:
    one = Description(title="a", what="image", unknown={"units": "not here", "files": "not here"})
    two = Description(title="b", what="tree", facets={"units": {}}, files=root_of())
    found = compare_systems(one, two)
    assert found.unknown == {"units": ("not here", None), "files": ("not here", None)}
    assert found.facets == {}
    assert found.files is None


def test_directories_and_times_make_no_noise() -> None:
    def old() -> Regular:
        return Regular(META, 3, inline=b"abc")

    later = replace(META, mtime=9)
    before = root_of(d=Directory(META, {b"f": old()}), t=old(), m=Directory(META, {}))
    after = root_of(
        d=Directory(later, {b"f": old(), b"new": Directory(META, {b"g": old()})}),
        e=Directory(META, {}),
        t=Regular(later, 3, inline=b"abc"),
        m=Directory(replace(META, mode=0o700), {}),
    )
    files = compare_systems(
        Description(title="a", what="tree", files=before),
        Description(title="b", what="tree", files=after),
    ).files
    assert files is not None
    assert [(each.path, each.kind, each.aspects) for each in files] == [
        (b"/d/new/g", ChangeKind.ADDED, ()),
        (b"/e", ChangeKind.ADDED, ()),
        (b"/m", ChangeKind.CHANGED, (Aspect.MODE,)),
        (b"/t", ChangeKind.CHANGED, (Aspect.MTIME,)),
    ]
    assert [each.is_time_only for each in files] == [False, False, False, True]
    assert files[0].size_after == 3
