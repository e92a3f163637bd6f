"""Users and groups that differ, as rows of ``[[user]]`` and ``[[group]]``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.layering.adoption import AdoptedRow, Findings, LeftOut
from atoll.layering.expected_etc import EXPIRY, SYSTEM_EXPIRY
from atoll.machine.drift.account_drift import NO_PASSWORD, is_locked
from atoll.machine.drift.model import AccountKind
from atoll.machine.etc.etc_tree import EtcChange
from atoll.recipe.language.check_values import check_password

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from atoll.machine.drift.account_drift import AccountRows, UserRow
    from atoll.machine.drift.model import AccountDrift

_FIRST_OF_PEOPLE = 1000


def adopt_accounts(
    accounts: Iterable[AccountDrift],
    rows: AccountRows,
    named: Callable[[str], bool],
    *,
    ids: bool = True,
) -> Findings:
    """``rows`` are those of the machine. ``named``: whether a person named something. Without
    ``ids`` the build assigns them: nothing on the machine has them yet."""
    found: list[AdoptedRow | LeftOut] = []
    for each in accounts:
        name = f"{each.kind}:{each.name}"
        if each.change is EtcChange.REMOVED:
            found.append(LeftOut(name=name, why="a recipe cannot remove an account of its base"))
        elif each.kind is AccountKind.GROUP:
            found += _adopt_group(each, name, rows, ids=ids)
        elif each.change is EtcChange.ADDED:
            found += _adopt_new_user(each, rows, named, ids=ids)
        else:
            found += _adopt_changed_user(each, rows, named)
    return Findings(
        rows=tuple(each for each in found if isinstance(each, AdoptedRow)),
        left=tuple(each for each in found if isinstance(each, LeftOut)),
    )


def _adopt_group(
    drift: AccountDrift, name: str, rows: AccountRows, *, ids: bool
) -> Iterator[AdoptedRow | LeftOut]:
    group = rows.groups[drift.name]
    others = [each.field for each in drift.fields if each.field != "gid"]
    if drift.change is EtcChange.CHANGED:
        others = [each.field for each in drift.fields]
    else:
        values: dict[str, object] = {"name": group.name}
        values |= {"gid": group.gid} if ids else {}
        values |= {"system": True} if group.gid < _FIRST_OF_PEOPLE else {}
        yield AdoptedRow(name=name, table="group", values=values)
    for field in others:
        yield LeftOut(name=name, why=f"{field}: a recipe cannot set it for a group")


def _adopt_new_user(
    drift: AccountDrift, rows: AccountRows, named: Callable[[str], bool], *, ids: bool
) -> Iterator[AdoptedRow | LeftOut]:
    user = rows.users[drift.name]
    name = f"user:{user.name}"
    own = rows.groups.get(user.name)
    if own is None or own.gid != user.gid or (ids and user.gid != user.uid):
        why = "a user of a recipe has a group of its own, with its name and id"
        yield LeftOut(name=name, why=why)
        return
    system = user.uid < _FIRST_OF_PEOPLE
    values: dict[str, object] = {"name": user.name}
    values |= {"uid": user.uid} if ids else {}
    values |= {"gecos": user.comment} if user.comment else {}
    usual = "/nonexistent" if system else f"/home/{user.name}"
    values |= {"home": user.home} if user.home != usual else {}
    values |= _shell(user, default="/usr/sbin/nologin" if system else "/bin/bash")
    values |= {"groups": sorted(user.groups)} if user.groups else {}
    values |= {"system": True} if system else {}
    if user.expiry not in (None, SYSTEM_EXPIRY if system else EXPIRY):
        yield LeftOut(name=name, why="expiry: a recipe cannot set it")
    yield from _with_password(
        user,
        values,
        named,
        wanted=not is_locked(NO_PASSWORD if user.password is None else user.password),
    )


def _adopt_changed_user(
    drift: AccountDrift, rows: AccountRows, named: Callable[[str], bool]
) -> Iterator[AdoptedRow | LeftOut]:
    user = rows.users[drift.name]
    name = f"user:{user.name}"
    # Without a shell the account would get the default one.
    values: dict[str, object] = {"name": user.name, **_shell(user, default="")}
    changes = False
    for each in drift.fields:
        before, after = (set(filter(None, text.split(","))) for text in (each.before, each.after))
        if each.field == "password":
            continue
        if each.field == "groups" and not before - after:
            values["groups"] = sorted(after - before)
            changes = True
        elif each.field in ("shell", "comment") and each.after:
            values |= {"gecos": each.after} if each.field == "comment" else {}
            changes = True
        else:
            yield LeftOut(name=name, why=f"{each.field}: a recipe cannot change that of a user")
    wanted = any(each.field == "password" for each in drift.fields)
    yield from _with_password(user, values, named, wanted=wanted, alone=not changes)


def _with_password(
    user: UserRow,
    values: dict[str, object],
    named: Callable[[str], bool],
    *,
    wanted: bool,
    alone: bool = False,
) -> Iterator[AdoptedRow | LeftOut]:
    """The row, with the password where that was named. ``alone``: without one there is no row."""
    secret = f"password:{user.name}"
    hashed = user.password or ""
    if wanted and is_locked(hashed):
        yield LeftOut(name=secret, why="a recipe cannot lock a password of its base")
    elif wanted and check_password(hashed) is not None:
        yield LeftOut(name=secret, why="it is empty, or of a kind that a recipe does not take")
    elif wanted and named(secret):
        values["password"] = hashed
        alone = False
    elif wanted:
        why = "everyone who can read the machine file or the image could try to guess it"
        yield LeftOut(name=secret, why=why, secret=True)
    if not alone:
        yield AdoptedRow(name=f"user:{user.name}", table="user", values=values)


def _shell(user: UserRow, *, default: str) -> dict[str, object]:
    return {"shell": user.shell} if user.shell and user.shell != default else {}
