"""Give every account of a root its id, and every file the owner that it had by name.

chown takes away setuid and setgid bits, and capabilities; they are put back.
Where an overlay has split the names of a hard-linked file, they are joined again.
"""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import PackageError
from atoll.builder.steps.ids import (
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
from atoll.builder.steps.in_root import run_inside
from atoll.builder.steps.known_ids import KNOWN
from atoll.host.in_root import exists_in_root, glob_in_root, in_root

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from atoll.recipe.model import Recipe

_FILES = ("passwd", "group", "shadow", "gshadow")
_CAPABILITY = "security.capability"
_ACLS = ("system.posix_acl_access", "system.posix_acl_default")
_ACL_HEAD = 4
_ACL_ENTRY = struct.Struct("<HHI")
_ACL_USER, _ACL_GROUP = 0x02, 0x08


@dataclass(frozen=True, slots=True, kw_only=True)
class Renumber:
    """The first step after the packages. ``locked`` ids stay; the others follow from names."""

    recipe: Recipe
    locked: AccountIds
    title: str = "Settling the ids of accounts"

    def parts(self) -> tuple[str, ...]:
        return ("renumber 2", *format_account_requests(self.recipe, self.locked))

    def execute(self, root: Path, workspace: Path) -> None:  # noqa: ARG002
        ids = choose_ids(root, self.recipe, self.locked)
        make_declared(root)
        accounts, users, groups = plan_accounts(read_accounts(root), ids)
        write_accounts(root, accounts)
        change_owners(root, users, groups)


def format_account_requests(recipe: Recipe, locked: AccountIds) -> tuple[str, ...]:
    """Everything beside a root that decides the ids of its packages' accounts."""
    users = [
        (user.name, user.uid, user.system)
        for user in recipe.users
        if user.system or user.uid is not None
    ]
    groups = [
        (group.name, group.gid, group.system)
        for group in recipe.groups
        if group.system or group.gid is not None
    ]
    return (repr(sorted(KNOWN.items())), *map(repr, (locked, users, groups)))


def read_accounts(root: Path) -> AccountFiles:
    """Raises PackageError when one of the files is none."""
    texts = {}
    for name in _FILES:
        path = in_root(root, f"etc/{name}", follow=False)
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise PackageError(f"/etc/{name} is not a regular file")
        texts[name] = path.read_text(errors="surrogateescape") if path.exists() else ""
    try:
        return AccountFiles(**{name: parse_lines(text) for name, text in texts.items()})
    except ValueError as error:
        raise PackageError(f"the accounts of the root cannot be read: {error}") from error


def write_accounts(root: Path, accounts: AccountFiles) -> None:
    """In place, so that owners and modes stay."""
    for name in _FILES:
        path = in_root(root, f"etc/{name}")
        lines = getattr(accounts, name)
        if lines:
            path.write_text(format_lines(lines), errors="surrogateescape")


def choose_ids(root: Path, recipe: Recipe, locked: AccountIds) -> AccountIds:
    """The ids for a root in which the packages are installed: ``complete_ids`` of its accounts,
    those included that are only declared yet."""
    texts = [path.read_text(errors="surrogateescape") for path in _declarations(root)]
    accounts = with_declared(read_accounts(root), parse_declared_accounts("\n".join(texts)))
    return complete_ids(locked, accounts, recipe)


def make_declared(root: Path) -> None:
    """Make the accounts of sysusers.d that no package has made, for else each machine would make
    them at its first boot, with ids of its own."""
    if exists_in_root(root, "usr/bin/systemd-sysusers") and any(_declarations(root)):
        run_inside(root, ["systemd-sysusers"], key="packages", what="accounts cannot be made")


def read_ids(root: Path) -> AccountIds:
    """What a finished root gives a lock."""
    return list_ids(read_accounts(root))


def _declarations(root: Path) -> Iterator[Path]:
    for place in ("usr/lib/sysusers.d", "etc/sysusers.d"):
        for path in glob_in_root(root, place, "*.conf"):
            if path.is_file() and not path.is_symlink():
                yield path


def change_owners(root: Path, users: Mapping[int, int], groups: Mapping[int, int]) -> None:
    """Everything below and including ``root``; the ids that it has decide, not the order."""
    if not users and not groups:
        return
    found, with_acls = [], []
    for path, status in _walk(os.fspath(root)):
        if status.st_uid in users or status.st_gid in groups:
            found.append((path, status))
        if not stat.S_ISLNK(status.st_mode) and set(_ACLS) & set(os.listxattr(path)):
            with_acls.append(path)
    first: dict[tuple[int, int], str] = {}
    for path, status in found:
        uid = users.get(status.st_uid, status.st_uid)
        gid = groups.get(status.st_gid, status.st_gid)
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
            original = first.setdefault((status.st_dev, status.st_ino), path)
            if original != path:
                _join(original, path)
                continue
        _change_owner(path, status.st_mode, uid, gid)
    for path in with_acls:
        _change_acls(path, users, groups)


def map_acl(data: bytes, users: Mapping[int, int], groups: Mapping[int, int]) -> bytes:
    """A POSIX ACL as the kernel stores it, with the ids that ``users`` and ``groups`` map."""
    entries = []
    for tag, mode, number in _ACL_ENTRY.iter_unpack(data[_ACL_HEAD:]):
        changes = {_ACL_USER: users, _ACL_GROUP: groups}.get(tag, {})
        entries.append(_ACL_ENTRY.pack(tag, mode, changes.get(number, number)))
    return data[:_ACL_HEAD] + b"".join(entries)


def _change_owner(path: str, mode: int, uid: int, gid: int) -> None:
    is_link = stat.S_ISLNK(mode)
    capability = None
    if stat.S_ISREG(mode) and _CAPABILITY in os.listxattr(path, follow_symlinks=False):
        capability = os.getxattr(path, _CAPABILITY, follow_symlinks=False)
    os.chown(path, uid, gid, follow_symlinks=False)
    if not is_link and mode & (stat.S_ISUID | stat.S_ISGID):
        os.chmod(path, stat.S_IMODE(mode))  # noqa: PTH101
    if capability is not None:
        os.setxattr(path, _CAPABILITY, capability, follow_symlinks=False)


def _change_acls(path: str, users: Mapping[int, int], groups: Mapping[int, int]) -> None:
    for name in os.listxattr(path, follow_symlinks=False):
        if name in _ACLS:
            old = os.getxattr(path, name, follow_symlinks=False)
            new = map_acl(old, users, groups)
            if new != old:
                os.setxattr(path, name, new, follow_symlinks=False)


def _join(original: str, path: str) -> None:
    """Make ``path`` a name of ``original`` again."""
    if os.lstat(original).st_ino != os.lstat(path).st_ino:
        temporary = f"{path}.atoll-link"
        os.link(original, temporary, follow_symlinks=False)
        os.rename(temporary, path)  # noqa: PTH104


def _walk(top: str) -> Iterator[tuple[str, os.stat_result]]:
    yield top, os.lstat(top)
    for entry in os.scandir(top):
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path)
        else:
            yield entry.path, entry.stat(follow_symlinks=False)
