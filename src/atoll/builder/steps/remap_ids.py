"""Change the ids of accounts in a root, and the owners of its files accordingly.

chown(2) clears setuid and setgid bits and capabilities, so they are restored. chown of a file from
a lower layer copies it up, which breaks hard links in an overlay, so the links are made again.
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
class RemapIds:
    """A step after the packages. ``locked`` ids stay; the others are allocated (``ids``)."""

    recipe: Recipe
    locked: AccountIds
    title: str = "Assigning the ids of accounts"

    def parts(self) -> tuple[str, ...]:
        return ("renumber 2", *format_account_requests(self.recipe, self.locked))

    def execute(self, root: Path, workspace: Path) -> None:  # noqa: ARG002
        ids = choose_ids(root, self.recipe, self.locked)
        make_declared(root)
        accounts, users, groups = plan_accounts(read_accounts(root), ids)
        write_accounts(root, accounts)
        change_owners(root, users, groups)


def format_account_requests(recipe: Recipe, locked: AccountIds) -> tuple[str, ...]:
    """Everything outside the root that decides the ids of accounts: the table, the lock, the
    recipe."""
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
    """Read passwd, group, shadow and gshadow. Raises PackageError when one is not a regular
    file."""
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
    """Write the files in place, so that their owners and modes stay."""
    for name in _FILES:
        path = in_root(root, f"etc/{name}")
        lines = getattr(accounts, name)
        if lines:
            path.write_text(format_lines(lines), errors="surrogateescape")


def choose_ids(root: Path, recipe: Recipe, locked: AccountIds) -> AccountIds:
    """``complete_ids`` for a root with the packages installed, including accounts that sysusers.d
    declares but nothing has created yet."""
    texts = [path.read_text(errors="surrogateescape") for path in _declarations(root)]
    accounts = with_declared(read_accounts(root), parse_declared_accounts("\n".join(texts)))
    return complete_ids(locked, accounts, recipe)


def make_declared(root: Path) -> None:
    """Create the accounts of sysusers.d that no package created. Otherwise each machine would
    create them at its first boot, with ids of its own."""
    if exists_in_root(root, "usr/bin/systemd-sysusers") and any(_declarations(root)):
        run_inside(root, ["systemd-sysusers"], key="packages", what="accounts cannot be made")


def read_ids(root: Path) -> AccountIds:
    """The ids of a finished root, for the lock."""
    return list_ids(read_accounts(root))


def _declarations(root: Path) -> Iterator[Path]:
    for folder in ("usr/lib/sysusers.d", "etc/sysusers.d"):
        for path in glob_in_root(root, folder, "*.conf"):
            if path.is_file() and not path.is_symlink():
                yield path


def change_owners(root: Path, users: Mapping[int, int], groups: Mapping[int, int]) -> None:
    """Change the owners and ACLs of ``root`` and everything below it. All files are listed before
    any is changed, because a new id may be another account's old id."""
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
    """The value of a POSIX ACL attribute with its ids replaced as ``users`` and ``groups`` map
    them."""
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
    """Make ``path`` a hard link to ``original`` again, if the overlay has separated them."""
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
