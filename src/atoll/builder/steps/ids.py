"""The ids of accounts: which each gets, and what changes when it is another than a package chose.

Packages take the next free id, so ids depend on the order of installation. After the packages are
in, every account that they made gets the id that the lock has for it, else the one of the table
(``known_ids``), else one that its name decides. Ids that Debian fixes (0 to 99, 65534 and those of
``60000`` and above) stay.
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
"""For names that neither the lock nor the table knows. What is above is left to programs on a
machine that take ids from the top down, what is below the table to those that go up."""

_STATIC_GROUPS = frozenset(("users",))
"""Group 100 is base-passwd's, though its number is among those of packages."""

Line: TypeAlias = tuple[str, ...]
"""The fields of a line of passwd, group, shadow or gshadow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountIds:
    """Names and their ids, sorted by name: the form of a lock."""

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
    """Ids given so far: by name, and which are taken."""

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
    """The users and groups that lines of sysusers.d(5) declare."""
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
    """``accounts`` and those that are only declared, with the first of the packages' ids."""
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
    """Every account whose id packages or the recipe decided."""
    return AccountIds(
        users=_listed(accounts.passwd, frozenset()), groups=_listed(accounts.group, _STATIC_GROUPS)
    )


def complete_ids(locked: AccountIds, accounts: AccountFiles, recipe: Recipe) -> AccountIds:
    """An id for every account that packages have made and that the recipe makes.

    The recipe's own numbers come first, then the locked ones, then the table's. Raises RecipeError
    when the recipe gives a number that is another account's.
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
    """Which ids of a passwd or group file become which; those that stay are not in it."""
    changes: dict[int, int] = {}
    for line in sorted(lines):
        number = int(line[2])
        if number in SYSTEM and line[0] in wanted and line[0] not in static:
            changes.setdefault(number, wanted[line[0]])
    return {old: new for old, new in changes.items() if old != new}


def plan_accounts(
    accounts: AccountFiles, ids: AccountIds
) -> tuple[AccountFiles, Mapping[int, int], Mapping[int, int]]:
    """The files with these ids, in an order that tells nothing of the installation; and which
    user and group ids became which."""
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
    """What the recipe and the lock have decided."""
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
    """``None``: the name is no user, or no group. One number for both where that can be."""
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
    """All of ``ALLOCATED``, from a place that the name decides: most images then agree, and one
    more name moves hardly any other."""
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
    """``lines`` in the order that their names have in ``order``."""
    places = {line[0]: place for place, line in enumerate(order)}
    return tuple(sorted(lines, key=lambda line: (places.get(line[0], len(places)), line[0])))


def _mapped(number: str, changes: Mapping[int, int]) -> str:
    return str(changes.get(int(number), int(number)))


def _members(names: str) -> str:
    return ",".join(sorted(name for name in names.split(",") if name))
