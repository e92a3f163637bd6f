"""Which id each account gets, and what changes in the files of accounts."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import RecipeError
from atoll.builder.steps.ids import (
    ALLOCATED,
    SYSTEM,
    AccountFiles,
    AccountIds,
    complete_ids,
    format_lines,
    list_ids,
    parse_declared_accounts,
    parse_lines,
    plan_accounts,
    with_declared,
)
from atoll.builder.steps.known_ids import FIRST, KNOWN, LAST, parse_table
from atoll.builder.steps.remap_ids import map_acl
from atoll.recipe.model import (
    Debian,
    DebianBase,
    Group,
    Image,
    Packages,
    Recipe,
    User,
)

RECIPE = Recipe(
    file="atoll.toml",
    text="",
    base=DebianBase(suite="trixie"),
    debian=Debian(suite="trixie"),
    image=Image(name="x", version="1"),
    packages=Packages(),
)
RELEASED = 418
"""How many names of the table a release has had."""


def recipe(*, users: tuple[User, ...] = (), groups: tuple[Group, ...] = ()) -> Recipe:
    return replace(RECIPE, users=users, groups=groups)


def accounts(users: dict[str, int], groups: dict[str, int] | None = None) -> AccountFiles:
    groups = users if groups is None else groups
    return AccountFiles(
        passwd=parse_lines(
            "".join(f"{n}:x:{i}:{groups.get(n, 0)}::/:/bin/sh\n" for n, i in users.items())
        ),
        group=parse_lines("".join(f"{n}:x:{i}:\n" for n, i in groups.items())),
    )


def test_the_table_is_only_ever_appended_to() -> None:
    ids = list(KNOWN.items())[:RELEASED]
    digest = hashlib.sha256(repr(ids).encode()).hexdigest()
    assert digest[:16] == "d4fb5e592f51e6ee"


def test_the_table_keeps_within_its_ids() -> None:
    assert min(KNOWN.values()) == FIRST
    assert max(KNOWN.values()) <= LAST
    assert len(set(KNOWN.values())) == len(KNOWN)
    assert not set(KNOWN.values()) & set(ALLOCATED)


@pytest.mark.parametrize("text", ["151 one", "150 one two\n151 three", "150 one one"])
def test_a_wrong_table_is_noticed(text: str) -> None:
    with pytest.raises(ValueError, match=r"begin with|twice"):
        parse_table(text)


def test_lock_then_table_then_name() -> None:
    made = accounts({"root": 0, "messagebus": 101, "polkitd": 102, "unheard": 103, "old": 104})
    ids = complete_ids(
        AccountIds(users=(("polkitd", 990),), groups=(("polkitd", 991),)), made, RECIPE
    )
    users, groups = dict(ids.users), dict(ids.groups)
    assert "root" not in users
    assert users["messagebus"] == groups["messagebus"] == KNOWN["messagebus"]
    assert (users["polkitd"], groups["polkitd"]) == (990, 991)
    assert users["unheard"] == groups["unheard"] in ALLOCATED


def test_what_the_lock_gives_to_others_is_not_given_again() -> None:
    number = KNOWN["messagebus"]
    locked = AccountIds(users=(("gone", number),))
    ids = complete_ids(locked, accounts({"messagebus": 101}), RECIPE)
    assert dict(ids.users)["messagebus"] != number
    assert "gone" not in dict(ids.users)


def test_a_group_follows_the_locked_number_of_its_user() -> None:
    ids = complete_ids(AccountIds(users=(("svc", 700),)), accounts({"svc": 101}), RECIPE)
    assert dict(ids.groups)["svc"] == 700


def test_accounts_of_the_recipe() -> None:
    wanted = recipe(
        users=(
            User(name="ann", home="/home/ann"),
            User(name="bob", home="/home/bob", uid=1000),
            User(name="svc", home="/nonexistent", system=True),
        ),
        groups=(Group(name="crew"), Group(name="lab", gid=1001)),
    )
    ids = complete_ids(AccountIds(), accounts({"root": 0}), wanted)
    users, groups = dict(ids.users), dict(ids.groups)
    assert users["bob"] == groups["bob"] == 1000
    assert users["ann"] == groups["ann"] == 1002
    assert users["svc"] == groups["svc"] in ALLOCATED
    assert groups["lab"] == 1001
    assert groups["crew"] == 1003


@pytest.mark.parametrize(
    "wanted",
    [
        recipe(users=(User(name="ann", home="/", uid=1000), User(name="bob", home="/", uid=1000))),
        recipe(groups=(Group(name="one", gid=1500), Group(name="two", gid=1500))),
    ],
)
def test_one_id_for_two_is_an_error(wanted: Recipe) -> None:
    with pytest.raises(RecipeError, match="is the id of"):
        complete_ids(AccountIds(), accounts({}), wanted)


def test_the_recipes_number_against_the_lock_is_an_error() -> None:
    wanted = recipe(users=(User(name="ann", home="/", uid=1000),))
    with pytest.raises(RecipeError, match="1000 is the id of"):
        complete_ids(AccountIds(users=(("bob", 1000),)), accounts({}), wanted)


NAMES = st.sampled_from(["messagebus", "polkitd", "odd", "even", "other", "sshd", "aa", "bb"])


@given(st.lists(NAMES, unique=True), st.randoms())
def test_the_order_of_installation_decides_nothing(names: list[str], random: object) -> None:
    shuffled = list(names)
    assert hasattr(random, "shuffle")
    random.shuffle(shuffled)
    one = accounts({name: 100 + n for n, name in enumerate(names)})
    two = accounts({name: 100 + n for n, name in enumerate(shuffled)})
    ids = complete_ids(AccountIds(), one, RECIPE)
    assert complete_ids(AccountIds(), two, RECIPE) == ids
    assert plan_accounts(one, ids)[0] == plan_accounts(two, ids)[0]
    numbers = [number for _, number in ids.users]
    assert len(set(numbers)) == len(numbers)
    # a lock that was made of it changes nothing
    assert complete_ids(ids, one, RECIPE) == ids


@given(st.lists(NAMES, unique=True, min_size=1), st.data())
def test_what_is_locked_stays(names: list[str], data: st.DataObject) -> None:
    few = names[: data.draw(st.integers(min_value=0, max_value=len(names)))]
    locked = complete_ids(
        AccountIds(), accounts({name: 100 + n for n, name in enumerate(few)}), RECIPE
    )
    more = complete_ids(locked, accounts({name: 100 + n for n, name in enumerate(names)}), RECIPE)
    assert set(locked.users) <= set(more.users)
    assert set(locked.groups) <= set(more.groups)


def test_files_are_sorted_and_swapped_ids_do_not_meet() -> None:
    before = AccountFiles(
        passwd=parse_lines("b:x:201:201::/:/b\nroot:x:0:0::/root:/b\na:x:200:200::/:/b\n"),
        group=parse_lines("b:x:201:z,a\nroot:x:0:\na:x:200:\nusers:x:100:\n"),
        shadow=parse_lines("b:!:1::::::\na:!:1::::::\nroot:*:1::::::\n"),
        gshadow=parse_lines("users:!::\nb:!:b,a:z,a\na:!::\nroot:*::\n"),
    )
    ids = AccountIds(users=(("a", 201), ("b", 200)), groups=(("a", 201), ("b", 200), ("users", 5)))
    after, users, groups = plan_accounts(before, ids)
    assert users == groups == {200: 201, 201: 200}
    assert format_lines(after.passwd) == (
        "root:x:0:0::/root:/b\nb:x:200:200::/:/b\na:x:201:201::/:/b\n"
    )
    assert format_lines(after.group) == "root:x:0:\nusers:x:100:\nb:x:200:a,z\na:x:201:\n"
    assert [line[0] for line in after.shadow] == ["root", "b", "a"]
    assert format_lines(after.gshadow).splitlines()[2] == "b:!:a,b:a,z"


def test_fixed_ids_stay() -> None:
    made = accounts({"root": 0, "man": 6, "libvirt-qemu": 64055, "nobody": 65534, "ann": 1000})
    assert list_ids(made).users == (("ann", 1000),)
    assert complete_ids(AccountIds(), made, RECIPE) == AccountIds()


def test_acls_are_mapped_by_kind() -> None:
    head = struct.pack("<I", 2)
    entries = [(0x01, 7, 2**32 - 1), (0x02, 4, 200), (0x08, 5, 200), (0x20, 0, 2**32 - 1)]
    data = head + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    mapped = map_acl(data, {200: 300}, {200: 400})
    assert [number for _, _, number in struct.iter_unpack("<HHI", mapped[4:])] == [
        2**32 - 1,
        300,
        400,
        2**32 - 1,
    ]


def test_accounts_of_sysusers_are_there_before_they_are_made() -> None:
    text = 'g wheel - -\nu svc - "A service" /\nu! odd -:nogroup -\nm ann crew\nr - 500-900\n'
    declared = parse_declared_accounts(f"# one\n\n{text}")
    assert declared[0] == {"svc", "odd", "ann"}
    assert declared[1] == {"wheel", "svc", "ann", "crew"}
    ids = complete_ids(AccountIds(), with_declared(accounts({"svc": 105}), declared), RECIPE)
    assert [name for name, _ in ids.users] == ["ann", "odd", "svc"]
    assert dict(ids.groups)["wheel"] == KNOWN["wheel"]


def test_system_ids_leave_room_for_the_machine() -> None:
    taken = set(KNOWN.values()) | set(ALLOCATED)
    assert set(SYSTEM) - taken >= set(range(100, 150)) | set(range(900, 1000))
