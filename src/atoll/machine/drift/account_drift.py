"""Users and groups that differ: rows of ``passwd`` and ``group``, and what belongs to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atoll.machine.drift.model import AccountDrift, AccountKind, FieldChange
from atoll.machine.etc.etc_tree import EtcChange, is_file, node_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from atoll.machine.etc.etc_tree import Node

_FIELDS = {"passwd": 7, "group": 4, "shadow": 9, "gshadow": 4}
_SET_BY_HAND = slice(3, 8)
"""In shadow: how long a password or account is valid. The day of the last change goes with it."""

NO_PASSWORD = "!"
_FOLLOWS = ("expiry", "ranges")
"""Fields that a new account gets by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRow:
    """``groups`` are those that list the user. ``password`` is that of shadow and is None, like
    ``expiry``, where it is not known."""

    name: str
    uid: int
    gid: int
    comment: str
    home: str
    shell: str
    groups: frozenset[str] = frozenset()
    password: str | None = field(default=None, repr=False)
    expiry: str | None = None
    ranges: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRow:
    """``strangers`` are members that are no users of this machine."""

    name: str
    gid: int
    strangers: frozenset[str] = frozenset()
    password: str | None = field(default=None, repr=False)
    administrators: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRows:
    """``other`` are lines that are no rows, such as those of NIS, with the file that has them."""

    users: Mapping[str, UserRow]
    groups: Mapping[str, GroupRow]
    other: frozenset[tuple[str, str]] = frozenset()


def read_accounts_of(etc: Node) -> AccountRows:
    """The users and groups of an ``/etc``; what may not be read is None in the rows."""
    tables = {name: _read_rows(etc, name) for name in _FIELDS}
    other = frozenset(
        (name, ":".join(row))
        for name, rows in tables.items()
        for row in rows or ()
        if not _is_row(name, row)
    )
    passwd, group, shadow, gshadow = (
        None if rows is None else {row[0]: row for row in rows if _is_row(name, row)}
        for name, rows in tables.items()
    )
    passwd, group = passwd or {}, group or {}
    members = {name: frozenset(filter(None, row[3].split(","))) for name, row in group.items()}
    ranges = [(name, row) for name in ("subuid", "subgid") for row in _read_rows(etc, name) or ()]
    users = {
        name: UserRow(
            name=name,
            uid=int(row[2]),
            gid=int(row[3]),
            comment=row[4],
            home=row[5],
            shell=row[6],
            groups=frozenset(each for each, names in members.items() if name in names),
            password=_password(shadow, name, row[1]),
            expiry=None if shadow is None else ":".join(shadow.get(name, [""] * 9)[_SET_BY_HAND]),
            ranges=tuple(f"{file} {':'.join(row[1:])}" for file, row in ranges if row[0] == name),
        )
        for name, row in passwd.items()
    }
    groups = {
        name: GroupRow(
            name=name,
            gid=int(row[2]),
            strangers=members[name] - passwd.keys(),
            password=_password(gshadow, name, "x", empty=NO_PASSWORD),
            administrators=_cell(gshadow, name, 2),
        )
        for name, row in group.items()
    }
    return AccountRows(users=users, groups=groups, other=other)


def find_account_drift(before: AccountRows, after: AccountRows) -> tuple[AccountDrift, ...]:
    """Users first. The group of a new user that has its name and id is not listed."""
    own = {name for name, row in after.users.items() if _has_own_group(row, after)}
    new = {name for name in own if name not in before.users}
    return (
        *_compare(AccountKind.USER, before.users, after.users),
        *(
            each
            for each in _compare(AccountKind.GROUP, before.groups, after.groups)
            if not (each.change is EtcChange.ADDED and each.name in new)
        ),
    )


def _has_own_group(user: UserRow, rows: AccountRows) -> bool:
    group = rows.groups.get(user.name)
    return group is not None and group.gid == user.gid == user.uid and not group.strangers


def _compare(
    kind: AccountKind,
    before: Mapping[str, UserRow] | Mapping[str, GroupRow],
    after: Mapping[str, UserRow] | Mapping[str, GroupRow],
) -> Iterator[AccountDrift]:
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if new is None:
            yield AccountDrift(kind=kind, name=name, change=EtcChange.REMOVED)
            continue
        fields = tuple(_compare_fields(old, new))
        if old is None or fields:
            change = EtcChange.ADDED if old is None else EtcChange.CHANGED
            yield AccountDrift(kind=kind, name=name, change=change, fields=fields)


def _compare_fields(
    old: UserRow | GroupRow | None, new: UserRow | GroupRow
) -> Iterator[FieldChange]:
    before, after = _values(old), _values(new)
    for name, value in after.items():
        was = before.get(name, NO_PASSWORD if name == "password" else "")
        if old is None and name in _FOLLOWS:
            continue
        # What may not be read on one side is not known to differ; it is listed as unread.
        if value is None or was is None or value == was:
            continue
        if name == "password":
            if not (is_locked(was) and is_locked(value)):
                yield FieldChange(field=name)
            continue
        yield FieldChange(field=name, before=was, after=value)


def _values(row: UserRow | GroupRow | None) -> dict[str, str | None]:
    match row:
        case UserRow():
            return {
                "uid": str(row.uid),
                "gid": str(row.gid),
                "comment": row.comment,
                "home": row.home,
                "shell": row.shell,
                "groups": ",".join(sorted(row.groups)),
                "password": row.password,
                "expiry": row.expiry,
                "ranges": ", ".join(row.ranges),
            }
        case GroupRow():
            return {
                "gid": str(row.gid),
                "members": ",".join(sorted(row.strangers)),
                "password": row.password,
                "administrators": row.administrators,
            }
        case None:
            return {}


def is_locked(password: str) -> bool:
    """Whether nobody can log in with this entry of shadow. An empty one is no lock: it asks for
    no password."""
    return password[:1] in ("!", "*")


def _password(
    shadow: Mapping[str, list[str]] | None, name: str, own: str, *, empty: str = ""
) -> str | None:
    """``own`` is what passwd has itself. Without a row in shadow nobody can log in. Of a group an
    ``empty`` password is none."""
    if own != "x":
        return own
    if shadow is None:
        return None
    return (shadow[name][1] or empty) if name in shadow else NO_PASSWORD


def _cell(rows: Mapping[str, list[str]] | None, name: str, index: int) -> str | None:
    return None if rows is None else rows.get(name, [""] * 9)[index]


def _is_row(file: str, row: list[str]) -> bool:
    ids = {"passwd": row[2:4], "group": row[2:3]}.get(file, [])
    digits = all(word.isascii() and word.isdigit() and len(word) < 11 for word in ids)
    return len(row) == _FIELDS[file] and row[0][:1] not in ("#", "+", "-") and digits


def _read_rows(etc: Node, name: str) -> list[list[str]] | None:
    """The lines of a file, split at colons; None where this user may not read it."""
    node = node_at(etc, name)
    if node is None or not is_file(node):
        return []
    try:
        text = node.entry.read().decode(errors="backslashreplace")
    except PermissionError:
        return None
    return [line.split(":") for line in text.split("\n") if line]
