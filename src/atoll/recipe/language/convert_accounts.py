"""Users and groups of a recipe, with what one of them says about another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.recipe.model import Group, User

if TYPE_CHECKING:
    from atoll.recipe.language.merge import MergedTable

_PERSONS = range(1000, 60000)
_SYSTEM = range(100, 1000)


def fill_users(top: MergedTable) -> tuple[User, ...]:
    users = []
    uids: set[int] = set()
    for table in top.each("user"):
        user = _user(table)
        if user.uid in uids:
            table.flaw("uid", f"{user.uid} is another user's already")
        uids |= {user.uid} if user.uid is not None else set()
        users.append(user)
    return tuple(users)


def fill_groups(top: MergedTable) -> tuple[Group, ...]:
    """Each account brings a group with its name and number along; those count too."""
    groups = []
    names = {table.text("name") for table in top.each("user")} - {""}
    gids = {table.maybe_number("uid") for table in top.each("user")} - {None}
    for table in top.each("group"):
        group = Group(
            name=table.text("name"),
            gid=table.maybe_number("gid"),
            system=table.switch("system"),
        )
        if group.name in names:
            table.flaw("name", f"{group.name} is a user, who has a group of that name")
        if group.gid is not None:
            _check_number(table, "gid", group.gid, system=group.system)
            if group.gid in gids:
                table.flaw("gid", f"{group.gid} is another group's already")
            gids.add(group.gid)
        groups.append(group)
    return tuple(groups)


def _user(table: MergedTable) -> User:
    name = table.text("name")
    uid = table.maybe_number("uid")
    system = table.switch("system")
    if name == "root":
        for key in ("uid", "home", "system"):
            if table.has(key):
                table.flaw(key, "root's cannot be chosen")
    elif uid is not None:
        _check_number(table, "uid", uid, system=system)
    home = "/root" if name == "root" else "/nonexistent" if system else f"/home/{name}"
    shell = "/usr/sbin/nologin" if system and name != "root" else "/bin/bash"
    return User(
        name=name,
        home=table.maybe_text("home") or home,
        uid=uid,
        gecos=table.text("gecos"),
        shell=table.maybe_text("shell") or shell,
        groups=table.texts("groups"),
        ssh_keys=table.texts("ssh_keys"),
        password_hash=table.maybe_text("password"),
        system=system,
    )


def _check_number(table: MergedTable, key: str, number: int, *, system: bool) -> None:
    right = _SYSTEM if system else _PERSONS
    if number not in right:
        who = ("system " if system else "") + ("users" if key == "uid" else "groups")
        hint = f"Debian's {who} have {right[0]} to {right[-1]}; without {key} one is chosen"
        table.flaw(key, f"{number} is no {who[:-1]}'s", hint)
