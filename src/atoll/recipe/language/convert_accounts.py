"""Convert users and groups of a recipe, and check that they fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.recipe.model import Group, User

if TYPE_CHECKING:
    from atoll.recipe.language.merge import MergedTable

_REGULAR = range(1000, 60000)
_SYSTEM = range(100, 1000)


def convert_users(top: MergedTable) -> tuple[User, ...]:
    """Convert users."""
    users = []
    uids: set[int] = set()
    for table in top.each("user"):
        user = _user(table)
        if user.uid in uids:
            table.flaw("uid", f"{user.uid} is already used by another user")
        uids |= {user.uid} if user.uid is not None else set()
        users.append(user)
    return tuple(users)


def convert_groups(top: MergedTable) -> tuple[Group, ...]:
    """Convert groups. Every account also creates a group with its own name and id."""
    groups = []
    names = {table.text("name") for table in top.each("user")} - {""}
    gids = {table.optional_number("uid") for table in top.each("user")} - {None}
    for table in top.each("group"):
        group = Group(
            name=table.text("name"),
            gid=table.optional_number("gid"),
            system=table.boolean("system"),
        )
        if group.name in names:
            table.flaw("name", f"{group.name} is a user, who has a group of that name")
        if group.gid is not None:
            _check_number(table, "gid", group.gid, system=group.system)
            if group.gid in gids:
                table.flaw("gid", f"{group.gid} is already used by another group")
            gids.add(group.gid)
        groups.append(group)
    return tuple(groups)


def _user(table: MergedTable) -> User:
    name = table.text("name")
    uid = table.optional_number("uid")
    system = table.boolean("system")
    if name == "root":
        for key in ("uid", "home", "system"):
            if table.has(key):
                table.flaw(key, "cannot be set for root")
    elif uid is not None:
        _check_number(table, "uid", uid, system=system)
    home = "/root" if name == "root" else "/nonexistent" if system else f"/home/{name}"
    shell = "/usr/sbin/nologin" if system and name != "root" else "/bin/bash"
    return User(
        name=name,
        home=table.optional_text("home") or home,
        uid=uid,
        gecos=table.text("gecos"),
        shell=table.optional_text("shell") or shell,
        groups=table.texts("groups"),
        ssh_keys=table.texts("ssh_keys"),
        password_hash=table.optional_text("password"),
        system=system,
    )


def _check_number(table: MergedTable, key: str, number: int, *, system: bool) -> None:
    allowed = _SYSTEM if system else _REGULAR
    if number not in allowed:
        who = ("system " if system else "") + ("users" if key == "uid" else "groups")
        hint = f"Debian's {who} have {allowed[0]} to {allowed[-1]}; without {key} one is chosen"
        table.flaw(key, f"{number} is no {who[:-1]}'s", hint)
