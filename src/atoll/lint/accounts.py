"""Lints of users and groups: conflicting ids, accounts that nothing creates, logins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.builder.steps.known_ids import KNOWN
from atoll.lint.model import FactKind, Finding, Lint, Severity
from atoll.lint.names import merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

from atoll.lint.model import LintSubject

BASE_USERS = {
    "root": 0,
    "daemon": 1,
    "bin": 2,
    "sys": 3,
    "sync": 4,
    "games": 5,
    "man": 6,
    "lp": 7,
    "mail": 8,
    "news": 9,
    "uucp": 10,
    "proxy": 13,
    "www-data": 33,
    "backup": 34,
    "list": 38,
    "irc": 39,
    "_apt": 42,
    "nobody": 65534,
}
"""The users of Debian's package base-passwd, which every system has; the groups below, too."""
BASE_GROUPS = {
    "root": 0,
    "daemon": 1,
    "bin": 2,
    "sys": 3,
    "adm": 4,
    "tty": 5,
    "disk": 6,
    "lp": 7,
    "mail": 8,
    "news": 9,
    "uucp": 10,
    "man": 12,
    "proxy": 13,
    "kmem": 15,
    "dialout": 20,
    "fax": 21,
    "voice": 22,
    "cdrom": 24,
    "floppy": 25,
    "tape": 26,
    "sudo": 27,
    "audio": 29,
    "dip": 30,
    "www-data": 33,
    "backup": 34,
    "operator": 37,
    "list": 38,
    "irc": 39,
    "src": 40,
    "shadow": 42,
    "utmp": 43,
    "video": 44,
    "sasl": 45,
    "plugdev": 46,
    "staff": 50,
    "games": 60,
    "users": 100,
    "nogroup": 65534,
}
_SHELL_PACKAGES = {
    "/usr/bin/zsh": "zsh",
    "/usr/bin/fish": "fish",
    "/usr/bin/ksh": "ksh",
    "/usr/bin/mksh": "mksh",
    "/usr/bin/tcsh": "tcsh",
    "/usr/bin/csh": "csh",
    "/usr/bin/elvish": "elvish",
    "/usr/bin/busybox": "busybox",
    "/usr/bin/tmux": "tmux",
    "/usr/bin/git-shell": "git",
}
_SHELLS = (
    "/usr/bin/sh",
    "/usr/bin/bash",
    "/usr/bin/rbash",
    "/usr/bin/dash",
    "/usr/bin/false",
    "/usr/bin/true",
    "/usr/sbin/nologin",
    "/usr/bin/sync",
)
"""The shells of a minimal Debian."""


def check_ids(subject: LintSubject) -> Iterator[Finding]:
    recipe, lock = subject.recipe, subject.lock
    known = subject.facts.accounts
    users = BASE_USERS | dict(known.users if known else {}) | dict(lock.users if lock else ())
    groups = BASE_GROUPS | dict(known.groups if known else {}) | dict(lock.groups if lock else ())
    wanted = [(user.name, user.uid) for user in recipe.users]
    yield from _conflicts(wanted, users, what="uid", key="user.uid")
    wanted = [(group.name, group.gid) for group in recipe.groups]
    yield from _conflicts(wanted, groups, what="gid", key="group.gid")


def _conflicts(
    wanted: Iterable[tuple[str, int | None]], known: Mapping[str, int], *, what: str, key: str
) -> Iterator[Finding]:
    holders = {number: name for name, number in (KNOWN | dict(known)).items()}
    for name, number in wanted:
        if number is None:
            continue
        if known.get(name, number) != number:
            yield Finding(
                message=f"{name} already has {what} {known[name]}, not {number}",
                hint="keep the id: machines may already have files that belong to it",
                key=key,
                value=number,
            )
        elif holders.setdefault(number, name) != name:
            yield Finding(
                message=f"{what} {number} of {name} already belongs to {holders[number]}",
                hint="choose another id, or leave it out: Atoll then chooses one and locks it",
                key=key,
                value=number,
            )


def check_groups(subject: LintSubject) -> Iterator[Finding]:
    groups = _groups(subject)
    for user in subject.recipe.users:
        for name in user.groups:
            if name not in groups:
                yield Finding(
                    message=f"{user.name} is in the group {name}, which nothing creates",
                    hint=f'add a table: [[group]] name = "{name}", or the package that creates it',
                    key="user.groups",
                    value=name,
                )


def check_owners(subject: LintSubject) -> Iterator[Finding]:
    groups, users = _groups(subject), _users(subject)
    for file in subject.recipe.files:
        for kind, name, known in (("owner", file.owner, users), ("group", file.group, groups)):
            if name not in known:
                yield Finding(
                    message=f"{file.path} has the {kind} {name}, which nothing creates",
                    hint="add an account of this name, or the package that creates it",
                    key=f"file.{kind}",
                    value=name,
                )


def _groups(subject: LintSubject) -> set[str]:
    known, recipe = subject.facts.accounts, subject.recipe
    return {
        *BASE_GROUPS,
        *(known.groups if known else ()),
        *(group.name for group in recipe.groups),
        *_own_users(subject),
    }


def _users(subject: LintSubject) -> set[str]:
    known = subject.facts.accounts
    return {*BASE_USERS, *(known.users if known else ()), *_own_users(subject)}


def _own_users(subject: LintSubject) -> set[str]:
    return {user.name for user in subject.recipe.users}


def check_tools(subject: LintSubject) -> Iterator[Finding]:
    recipe = subject.recipe
    if (recipe.users or recipe.groups) and not subject.facts.plans("passwd"):
        yield Finding(
            message="accounts cannot be created: the package passwd is not installed",
            hint='add "passwd" to [packages] install',
            key="user" if recipe.users else "group",
        )


def check_shells(subject: LintSubject) -> Iterator[Finding]:
    contents, files = subject.facts.contents, {file.path for file in subject.recipe.files}
    for user in subject.recipe.users:
        shell = merged(user.shell)
        package = _SHELL_PACKAGES.get(shell)
        shipped = contents is not None and shell in contents.owners
        if shell in _SHELLS or shell in files or shipped:
            continue
        if package is None and (contents is None or not contents.whole):
            continue
        if package is None or not subject.facts.plans(package):
            yield Finding(
                message=f"the shell {user.shell} of {user.name} is in no package",
                hint=f'add "{package}" to [packages] install' if package else "check the path",
                key="user.shell",
                value=user.shell,
            )


def check_sudo(subject: LintSubject) -> Iterator[Finding]:
    rules = any(file.path.startswith("/etc/sudoers.d/") for file in subject.recipe.files)
    for user in subject.recipe.users:
        if "sudo" in user.groups and user.password_hash is None and not rules:
            yield Finding(
                message=f"{user.name} may use sudo but has no password to type",
                hint="set a password, or add a NOPASSWD rule in /etc/sudoers.d",
                key="user.name",
                value=user.name,
            )


def check_login(subject: LintSubject) -> Iterator[Finding]:
    for user in subject.recipe.users:
        locked = user.password_hash is None and not user.ssh_keys
        # such a shell says that the account is not for logins
        no_login = user.shell.endswith(("/nologin", "/false"))
        if locked and not no_login and not user.system and user.name != "root":
            yield Finding(
                message=f"nobody can log in as {user.name}: no password and no key",
                hint="set a password (mkpasswd prints its hash) or ssh_keys",
                key="user.name",
                value=user.name,
            )


def check_way_in(subject: LintSubject) -> Iterator[Finding]:
    open_users = [user for user in subject.recipe.users if user.password_hash or user.ssh_keys]
    if not open_users:
        yield Finding(
            message="no account has a password or a key, so nobody can log in",
            hint="add a [[user]] with one of them, unless nobody should log in",
            key="user",
        )


LINTS = (
    Lint(
        name="id-conflict",
        severity=Severity.FATAL,
        summary="two accounts share an id, or an account's id changes",
        why="Files belong to ids, not to names. A shared id gives one account the other's files; "
        "an account whose id changes loses its own.",
        check=check_ids,
    ),
    Lint(
        name="group-unknown",
        severity=Severity.FATAL,
        summary="a user is in a group that nothing creates",
        why="The account cannot be created, so the build fails.",
        check=check_groups,
        needs=(FactKind.ACCOUNTS,),
    ),
    Lint(
        name="owner-unknown",
        severity=Severity.FATAL,
        summary="a file belongs to an account that nothing creates",
        why="The file's owner cannot be set, so the build fails.",
        check=check_owners,
        needs=(FactKind.ACCOUNTS,),
    ),
    Lint(
        name="account-tools-missing",
        severity=Severity.FATAL,
        summary="the recipe creates accounts, but the package passwd is not installed",
        why="passwd has useradd and its companions; a minimal Debian does not include it.",
        check=check_tools,
        needs=(FactKind.PLAN,),
    ),
    Lint(
        name="shell-missing",
        severity=Severity.FATAL,
        summary="a user's shell is in none of the packages",
        why="Nobody can log in with a shell that is missing.",
        check=check_shells,
        needs=(FactKind.PLAN,),
    ),
    Lint(
        name="sudo-locked",
        severity=Severity.WARNING,
        summary="a user may use sudo but has no password",
        why="sudo asks for the user's own password, and a locked password never matches.",
        check=check_sudo,
    ),
    Lint(
        name="login-impossible",
        severity=Severity.WARNING,
        summary="nobody can log in as a user",
        why="An account with neither a password nor keys is for files and services only. Such "
        "accounts have `system = true`, or nologin as their shell.",
        check=check_login,
    ),
    Lint(
        name="no-way-in",
        severity=Severity.WARNING,
        summary="nobody can log in at all",
        why="root's password is locked unless the recipe sets it.",
        check=check_way_in,
    ),
)
