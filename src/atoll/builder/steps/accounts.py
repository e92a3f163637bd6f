"""``[[group]]`` and ``[[user]]``: create accounts, with ids that stay the same in later builds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import RecipeError
from atoll.builder.steps.ids import AccountIds, plan_accounts
from atoll.builder.steps.in_root import run_inside
from atoll.builder.steps.remap_ids import (
    choose_ids,
    format_account_requests,
    read_accounts,
    write_accounts,
)

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.recipe.model import Group, Recipe, User

_NO_HOMES = ("/nonexistent", "/")

_WRITE_KEYS = """
group=$(id -g -- "$2")
install -d -m 0700 -o "$2" -g "$group" -- "$1/.ssh"
cat > "$1/.ssh/authorized_keys"
chmod 0600 "$1/.ssh/authorized_keys"
chown -- "$2:$group" "$1/.ssh/authorized_keys"
"""

_MAKE_HOME = 'install -d -m 0750 -o "$2" -g "$(id -g -- "$2")" -- "$1"'


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeAccounts:
    """Create groups, then users, who may be in them."""

    recipe: Recipe
    locked: AccountIds
    title: str = "Making accounts"

    def parts(self) -> tuple[str, ...]:
        recipe = self.recipe
        return (
            "accounts 3",
            repr(recipe.groups),
            repr(recipe.users),
            *format_account_requests(recipe, self.locked),
        )

    def execute(self, root: Path, workspace: Path) -> None:  # noqa: ARG002
        ids = choose_ids(root, self.recipe, self.locked)
        for group in self.recipe.groups:
            set_group(root, group, ids)
        for user in self.recipe.users:
            set_user(root, user, ids)
        # useradd appends; the files must stay in the order that the ids step writes, by id
        write_accounts(root, plan_accounts(read_accounts(root), AccountIds())[0])


def set_group(root: Path, group: Group, ids: AccountIds) -> None:
    """Create the group, unless it exists. Raises RecipeError when it exists with another id."""
    number = group.gid if group.gid is not None else dict(ids.groups).get(group.name)
    there = {line[0]: int(line[2]) for line in read_accounts(root).group}
    if group.name in there:
        if group.gid not in (None, there[group.name]):
            raise RecipeError(
                f"the group {group.name} already exists with the id {there[group.name]}",
                key="group.gid",
                hint="leave its gid out",
            )
        return
    words = ["groupadd", *(["--system"] if group.system else [])]
    if number is not None:
        words += ["--gid", str(number)]
    run_inside(
        root, [*words, "--", group.name], key="group", what=f"the group {group.name} cannot be made"
    )


def set_user(root: Path, user: User, ids: AccountIds) -> None:
    """Create or change the account, then set its password and its ssh keys."""
    exists = any(line[0] == user.name for line in read_accounts(root).passwd)
    words = ["usermod", "--shell", user.shell] if exists else _new_user(root, user, ids)
    if user.gecos:
        words += ["--comment", user.gecos]
    if exists and user.uid is not None and user.name != "root":
        words += ["--uid", str(user.uid)]
    if user.groups:
        words += ["--groups", ",".join(user.groups), *(["--append"] if exists else [])]
    what = f"the account {user.name} cannot be made"
    run_inside(root, [*words, "--", user.name], key="user", what=what)
    home = "/root" if user.name == "root" else user.home
    if user.system and not exists and home not in _NO_HOMES:
        run_inside(root, ["sh", "-euc", _MAKE_HOME, "home", home, user.name], key="user", what=what)
    if user.password_hash is not None:
        line = f"{user.name}:{user.password_hash}\n".encode()
        run_inside(root, ["chpasswd", "--encrypted"], stdin=line, key="user", what=what)
    if user.ssh_keys:
        text = "".join(f"{key}\n" for key in user.ssh_keys)
        run_inside(
            root,
            ["sh", "-euc", _WRITE_KEYS, "keys", home, user.name],
            stdin=text.encode(),
            key="user",
            what=what,
        )


def _new_user(root: Path, user: User, ids: AccountIds) -> list[str]:
    """The useradd command. A group of the same name is created first if the lock has another id for
    it than for the user: useradd would give both the same id."""
    number = user.uid if user.uid is not None else dict(ids.users).get(user.name)
    groups = {line[0] for line in read_accounts(root).group}
    words = ["useradd", "--shell", user.shell, "--home-dir", user.home]
    words += ["--system", "--no-create-home"] if user.system else ["--create-home"]
    if number is not None:
        words += ["--uid", str(number)]
    gid = dict(ids.groups).get(user.name)
    if user.name not in groups and gid is not None and gid != number:
        system = ["--system"] if user.system else []
        run_inside(
            root,
            ["groupadd", *system, "--gid", str(gid), "--", user.name],
            key="user",
            what=f"the group of {user.name} cannot be made",
        )
        groups.add(user.name)
    return [*words, *(["--gid", user.name] if user.name in groups else ["--user-group"])]
