"""Allocation of user and group ids, and the changes to passwd, group, shadow and gshadow.

Maintainer scripts take the next free id, so ids would depend on the order of installation. After
the packages are installed, every account that they created gets the id that the lock has for it,
otherwise that of the table (``known_ids``), otherwise one derived from a hash of its name. Ids that
Debian fixes (0 to 99, 60000 and above) stay. All functions are pure.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from atoll.base.errors import RecipeError
from atoll.builder.steps.known_ids import KNOWN

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from atoll.recipe.model import Recipe

SYSTEM = range(100, 1000)
PEOPLE = range(1000, 60000)
ALLOCATED = range(600, 900)
"""For names that neither the lock nor the table has. Ids from 900 stay free for programs on a
machine that count down from 999 (useradd --system, systemd-sysusers), and ids below the table for
those that count up from 100 (adduser)."""

_STATIC_GROUPS = frozenset(("users",))
"""Group 100 is fixed by base-passwd, although its id is in the range of packages."""

Line: TypeAlias = tuple[str, ...]
"""The fields of a line of passwd, group, shadow or gshadow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountIds:
    """Names and their ids, sorted by name, as in a lock."""

    users: tuple[tuple[str, int], ...] = ()
    groups: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFiles:
    """The four files of a root, line by line."""

    passwd: tuple[Line, ...] = ()
    group: tuple[Line, ...] = ()
    shadow: tuple[Line, ...] = ()
    gshadow: tuple[Line, ...] = ()


@dataclass(slots=True)
class _Numbers:
    """The ids given so far, by name, and the set of taken ids."""

    given: dict[str, int]
    taken: set[int] = field(default_factory=set)

    def give(self, name: str, number: int) -> None:
        self.given[name] = number
        self.taken.add(number)


def parse_lines(text: str) -> tuple[Line, ...]:
    return tuple(tuple(line.split(":")) for line in text.splitlines() if line.strip())


def format_lines(lines: Iterable[Line]) -> str:
    return "".join(":".join(line) + "\n" for line in lines)


def parse_declared_accounts(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """The names of users and groups that a sysusers.d(5) file declares."""
    users: set[str] = set()
    groups: set[str] = set()
    for line in text.splitlines():
        match line.split():
            case [kind, name, *rest] if kind[0] in "ug" and not name.startswith("%"):
                own_group = kind[0] == "g" or ":" not in "".join(rest[:1])
                (users if kind[0] == "u" else groups).add(name)
                groups |= {name} if own_group else set()
            case ["m", user, group]:
                users.add(user)
                groups |= {user, group}
    return frozenset(users), frozenset(groups)


def with_declared(
    accounts: AccountFiles, declared: tuple[frozenset[str], frozenset[str]]
) -> AccountFiles:
    """``accounts`` with those added that are declared but not created yet. They get id 100, the
    first of the packages' range, so that they count as made by packages."""
    users, groups = (
        sorted(names - {line[0] for line in lines})
        for names, lines in zip(declared, (accounts.passwd, accounts.group), strict=True)
    )
    number = str(SYSTEM.start)
    return replace(
        accounts,
        passwd=(*accounts.passwd, *((name, "x", number, number, "", "", "") for name in users)),
        group=(*accounts.group, *((name, "x", number, "") for name in groups)),
    )


def list_ids(accounts: AccountFiles) -> AccountIds:
    """The ids of all accounts that packages or recipes created."""
    return AccountIds(
        users=_listed(accounts.passwd, frozenset()), groups=_listed(accounts.group, _STATIC_GROUPS)
    )


def complete_ids(locked: AccountIds, accounts: AccountFiles, recipe: Recipe) -> AccountIds:
    """An id for each account that packages created or that the recipe declares.

    Ids in the recipe come first, then locked ones, then the table, then the hash of the name. Names
    are handled in sorted order, so the result does not depend on the order of installation. Raises
    RecipeError when two accounts would share an id, or no id is free.
    """
    made = list_ids(accounts)
    packages_users = {name for name, number in made.users if number in SYSTEM}
    packages_groups = {name for name, number in made.groups if number in SYSTEM}
    system = {user.name for user in recipe.users if user.system}
    own_groups = {group.name for group in recipe.groups if group.system}
    people = [user.name for user in recipe.users if not user.system and user.name != "root"]
    users, groups = _begin(recipe, locked)
    for name in sorted(packages_users | packages_groups | system | own_groups):
        _give_system(
            name,
            users if name in packages_users | system else None,
            groups if name in packages_groups | own_groups | system else None,
        )
    for name in people:
        _give_person(name, users, groups)
    for group in recipe.groups:
        if group.name not in groups.given:
            groups.give(group.name, _first_free(PEOPLE, groups.taken))
    return AccountIds(
        users=_chosen(users, packages_users | system | {*people}),
        groups=_chosen(
            groups, packages_groups | system | {*people} | {group.name for group in recipe.groups}
        ),
    )


def plan_numbers(
    lines: Iterable[Line], wanted: Mapping[str, int], *, static: Collection[str] = ()
) -> dict[int, int]:
    """Maps the old to the new ids of a passwd or group file; ids that do not change are left
    out."""
    changes: dict[int, int] = {}
    for line in sorted(lines):
        number = int(line[2])
        if number in SYSTEM and line[0] in wanted and line[0] not in static:
            changes.setdefault(number, wanted[line[0]])
    return {old: new for old, new in changes.items() if old != new}


def plan_accounts(
    accounts: AccountFiles, ids: AccountIds
) -> tuple[AccountFiles, Mapping[int, int], Mapping[int, int]]:
    """The files with these ids, sorted by id, so that their order does not depend on the order of
    installation; and the maps of changed user and group ids."""
    users = plan_numbers(accounts.passwd, dict(ids.users))
    groups = plan_numbers(accounts.group, dict(ids.groups), static=_STATIC_GROUPS)
    passwd = _sorted(
        (*line[:2], _mapped(line[2], users), _mapped(line[3], groups), *line[4:])
        for line in accounts.passwd
    )
    group = _sorted(
        (*line[:2], _mapped(line[2], groups), *map(_members, line[3:])) for line in accounts.group
    )
    return (
        AccountFiles(
            passwd=passwd,
            group=group,
            shadow=_like(accounts.shadow, passwd),
            gshadow=_like(
                ((*line[:2], *map(_members, line[2:])) for line in accounts.gshadow), group
            ),
        ),
        users,
        groups,
    )


def _listed(lines: Iterable[Line], static: Collection[str]) -> tuple[tuple[str, int], ...]:
    found = ((line[0], int(line[2])) for line in lines)
    return tuple(
        sorted(
            (name, number)
            for name, number in found
            if (number in SYSTEM or number in PEOPLE) and name not in static
        )
    )


def _begin(recipe: Recipe, locked: AccountIds) -> tuple[_Numbers, _Numbers]:
    """The user and group ids that the recipe and the lock fix. A uid in the recipe is also the id
    of the user's group, unless another group has it."""
    asked_users = {user.name: user.uid for user in recipe.users if user.uid is not None}
    asked_groups = {group.name: group.gid for group in recipe.groups if group.gid is not None}
    asked_groups = {
        **{
            name: number
            for name, number in asked_users.items()
            if number not in asked_groups.values()
        },
        **asked_groups,
    }
    users = _Numbers({**dict(locked.users), **asked_users})
    groups = _Numbers({**dict(locked.groups), **asked_groups})
    for numbers, key in ((users, "user.uid"), (groups, "group.gid")):
        names: dict[int, str] = {}
        for name, number in numbers.given.items():
            if names.setdefault(number, name) != name:
                raise RecipeError(
                    f"{number} is the id of {names[number]} and of {name}",
                    file=recipe.file,
                    key=key,
                    hint="choose another id, or leave it out: the lock then "
                    "keeps the id that Atoll chooses",
                )
        numbers.taken = set(names)
    return users, groups


def _give_system(name: str, users: _Numbers | None, groups: _Numbers | None) -> None:
    """Give ids to a system account. ``users`` or ``groups`` is None if the name is not a user, or
    not a group. User and group get the same id if it is free in both files."""
    missing = [each for each in (users, groups) if each is not None and name not in each.given]
    known = [
        each.given[name] for each in (users, groups) if each is not None and name in each.given
    ]
    if name in KNOWN:
        known.append(KNOWN[name])
    for number in known:
        if all(number not in each.taken for each in missing):
            break
    else:
        number = _first_free(_by_name(name), set().union(*(each.taken for each in missing)))
    for each in missing:
        each.give(name, number)


def _give_person(name: str, users: _Numbers, groups: _Numbers) -> None:
    """Give the first free ids from 1000 to a person and the group of the same name."""
    if name not in users.given:
        users.give(name, _first_free(PEOPLE, users.taken | groups.taken))
    if name not in groups.given:
        number = users.given[name]
        groups.give(
            name,
            number
            if number not in groups.taken
            else _first_free(PEOPLE, users.taken | groups.taken),
        )


def _by_name(name: str) -> Iterable[int]:
    """All of ``ALLOCATED``, starting at a hash of the name: so unrelated images mostly agree, and a
    new name rarely changes the id of another (open addressing with linear probing)."""
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % len(ALLOCATED)
    return (*ALLOCATED[start:], *ALLOCATED[:start])


def _first_free(numbers: Iterable[int], taken: Collection[int]) -> int:
    for number in numbers:
        if number not in taken:
            return number
    raise RecipeError(
        "there are not enough free ids for all accounts",
        key="packages",
        hint="give some of them ids with [[user]] uid",
    )


def _chosen(numbers: _Numbers, names: Iterable[str]) -> tuple[tuple[str, int], ...]:
    return tuple((name, numbers.given[name]) for name in sorted(names))


def _sorted(lines: Iterable[Line]) -> tuple[Line, ...]:
    return tuple(sorted(lines, key=lambda line: (int(line[2]), line[0])))


def _like(lines: Iterable[Line], order: Iterable[Line]) -> tuple[Line, ...]:
    """``lines``, sorted like the lines of the same names in ``order``."""
    ranks = {line[0]: rank for rank, line in enumerate(order)}
    return tuple(sorted(lines, key=lambda line: (ranks.get(line[0], len(ranks)), line[0])))


def _mapped(number: str, changes: Mapping[int, int]) -> str:
    return str(changes.get(int(number), int(number)))


def _members(names: str) -> str:
    return ",".join(sorted(name for name in names.split(",") if name))
