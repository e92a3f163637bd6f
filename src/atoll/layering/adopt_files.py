"""Files in ``/etc`` that differ, as rows of ``[[file]]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.layering.adoption import AdoptedRow, Findings, LeftOut
from atoll.machine.etc.etc_tree import Kind, is_directory, node_at
from atoll.recipe.language.check_paths import check_file_path
from atoll.recipe.language.check_values import check_account, check_link
from atoll.tree.identities import has_private_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from atoll.machine.drift.etc_drift import EtcPair
    from atoll.machine.drift.model import EtcDrift
    from atoll.machine.etc.etc_tree import Entry, Node

FOLDER = "files"
"""Where contents are kept that do not belong into the machine file, beside it."""
_LONGEST_TEXT = 8192
"""Bytes of a content that the machine file has itself."""
_READ_BY_ALL = 0o004


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountNames:
    """Names of the users and groups of a tree to come, by id."""

    users: Mapping[int, str]
    groups: Mapping[int, str]


def adopt_files(
    files: Iterable[EtcDrift], pair: EtcPair, accounts: AccountNames, named: Callable[[str], bool]
) -> Findings:
    """``named``: whether a person named a path, so that it is adopted although it is secret."""
    rows, left = [], []
    for each in files:
        path = f"/etc/{each.path}"
        before, after = node_at(pair.tree, each.path), node_at(pair.live, each.path)
        if each.path in pair.unread:
            left.append(LeftOut(name=path, why="only root may read it"))
            continue
        found = adopt_file(path, before, after, accounts)
        if isinstance(found, AdoptedRow) and found.private and not named(path):
            why = "only root, or not everyone, may read it"
            left.append(LeftOut(name=path, why=why, secret=True))
        elif isinstance(found, AdoptedRow):
            rows.append(found)
        else:
            left.append(found)
    return Findings(rows=tuple(rows), left=tuple(left))


def adopt_file(
    path: str, before: Node | None, after: Node | None, accounts: AccountNames
) -> AdoptedRow | LeftOut:
    """The row for what is at ``path``, or why there cannot be one."""
    flaw = check_file_path(path)
    if flaw is not None:
        why = f"{flaw.message}; {flaw.hint}" if flaw.hint else flaw.message
        return LeftOut(name=path, why=why)
    if after is None:
        return LeftOut(name=path, why="a recipe cannot remove a file of its base")
    if is_directory(after) or is_directory(before):
        return LeftOut(name=path, why="a recipe writes files, not directories")
    entry = after.entry
    if entry.xattrs:
        names = ", ".join(name for name, _ in entry.xattrs)
        return LeftOut(name=path, why=f"a recipe cannot set extended attributes: {names}")
    owner, group = accounts.users.get(entry.uid), accounts.groups.get(entry.gid)
    if owner is None or group is None or check_account(owner) or check_account(group):
        what = f"user {entry.uid}" if owner is None else f"group {entry.gid}"
        return LeftOut(name=path, why=f"it belongs to {what}, which the recipe does not have")
    if entry.kind is Kind.SYMLINK:
        return _adopt_link(path, entry)
    values: dict[str, object] = {"path": path}
    private = not entry.mode & _READ_BY_ALL
    content = entry.read()
    private |= has_private_key(content)
    text = None if private else as_text(content)
    if text is None:
        values["source"] = f"{FOLDER}{path.removeprefix('/etc')}"
    else:
        values["text"] = text
    values |= {"mode": f"{entry.mode:04o}"} if entry.mode != 0o644 else {}
    values |= {"owner": owner} if owner != "root" else {}
    values |= {"group": group} if group != "root" else {}
    source = content if text is None else None
    return AdoptedRow(name=path, table="file", values=values, source=source, private=private)


def _adopt_link(path: str, entry: Entry) -> AdoptedRow | LeftOut:
    if (entry.uid, entry.gid) != (0, 0):
        return LeftOut(name=path, why="a link of a recipe belongs to root")
    if check_link(entry.content) is not None or not entry.content.isprintable():
        return LeftOut(name=path, why="a recipe cannot have such a target of a link")
    return AdoptedRow(name=path, table="file", values={"path": path, "link": entry.content})


def as_text(content: bytes) -> str | None:
    """``content`` as the machine file can have it; None for what is long, or no plain text."""
    if len(content) > _LONGEST_TEXT:
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    plain = text.replace("\n", "").replace("\t", "")
    return text if not plain or plain.isprintable() else None
