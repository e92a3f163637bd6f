"""The accounts of people, from the files of an older system into those of an image. Pure.

Records are copied as they are, because files in /home belong to their ids, and the passwords stay
the same. ``useradd`` would choose, check and complete; here nothing is left to choose.

A person is an account with an id from 1000 on, as Debian's ``login.defs`` has it. Groups of these
ids come along; of the system's groups (``sudo``, ``audio`` …) people stay members where the image
has the group, whatever its id is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.machine.etc.etc_tree import Entry, Kind, Node, is_file, node_at, replaced, with_content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FIRST_ID, LAST_ID = 1000, 59999
_MODES = {"passwd": 0o644, "group": 0o644, "shadow": 0o640, "gshadow": 0o640}
_FIELDS = {"passwd": 7, "group": 4, "shadow": 9, "gshadow": 4}
_RANGES = ("subuid", "subgid")
_MEMBERS = 3
_SHELLS = ("/bin/bash", "/bin/sh")


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedAccounts:
    """``etc`` with the accounts; ``people`` are their names. ``conflicts`` say which ids or names
    the image uses for something else, so that nothing may be carried; ``notes`` what is left
    behind."""

    etc: Node
    people: tuple[str, ...]
    conflicts: tuple[str, ...]
    notes: tuple[str, ...]


Record = list[str]


def read_records(etc: Node, file: str) -> list[Record]:
    """The well-formed records of one of the files. A record of a range has its three fields."""
    node = node_at(etc, file)
    if node is None or not is_file(node):
        return []
    count = _FIELDS.get(file, 3)
    lines = node.entry.read().decode(errors="surrogateescape").splitlines()
    records = (line.split(":") for line in lines if line[:1] not in ("#", "+", "-"))
    return [each for each in records if len(each) == count]


def people_of(etc: Node) -> list[Record]:
    """The records of ``passwd`` that are people's."""
    return [each for each in read_records(etc, "passwd") if _is_persons(each[2])]


def carry_accounts(old: Node, etc: Node, has: Callable[[str], bool]) -> CarriedAccounts:
    """``etc``, that of the image, with the people of ``old``; ``has`` says whether the image has a
    file."""
    people = people_of(old)
    names = {each[0] for each in people}
    groups = [each for each in read_records(old, "group") if _is_persons(each[2])]
    conflicts = (
        *_conflicts("account", people, read_records(etc, "passwd")),
        *_conflicts("group", groups, read_records(etc, "group")),
    )
    if conflicts:
        return CarriedAccounts(etc=etc, people=(), conflicts=conflicts, notes=())
    notes: list[str] = []
    changed = _append(etc, "passwd", [_with_shell(each, has, notes) for each in people])
    changed = _append(changed, "shadow", _passwords(old, people))
    new = {each[0] for each in groups}
    changed = _append(changed, "group", [_only(each, names) for each in groups])
    changed = _append(
        changed,
        "gshadow",
        [_only(each, names) for each in read_records(old, "gshadow") if each[0] in new],
    )
    changed = _with_members(changed, old, names, notes)
    for file in _RANGES:
        changed = _append(changed, file, [r for r in read_records(old, file) if r[0] in names])
    return CarriedAccounts(
        etc=changed, people=tuple(each[0] for each in people), conflicts=(), notes=tuple(notes)
    )


def carry_root_password(old: Node, etc: Node) -> Node:
    """``etc`` with the password of root, or without one as it was locked."""
    found = [each for each in read_records(old, "shadow") if each[0] == "root"]
    if not found:
        return etc
    lines = [found[0] if each[0] == "root" else each for each in read_records(etc, "shadow")]
    return _write(etc, "shadow", lines)


def can_log_in(old: Node) -> bool:
    """Whether root has a password."""
    return any(
        each[0] == "root" and each[1][:1] not in ("!", "*") for each in read_records(old, "shadow")
    )


def _is_persons(number: str) -> bool:
    return number.isascii() and number.isdecimal() and FIRST_ID <= int(number) <= LAST_ID


def _conflicts(what: str, carried: list[Record], image: list[Record]) -> Iterator[str]:
    names = {each[0]: each[2] for each in image}
    ids = {each[2]: each[0] for each in image}
    for each in carried:
        if each[0] in names:
            yield f"the image has {what} {each[0]} (id {names[each[0]]}) already"
        elif each[2] in ids:
            yield f"the id {each[2]} of {what} {each[0]} belongs to {ids[each[2]]} in the image"


def _with_shell(person: Record, has: Callable[[str], bool], notes: list[str]) -> Record:
    shell = person[6]
    if not shell or has(shell.lstrip("/")):
        return person
    other = next((each for each in _SHELLS if has(each.lstrip("/"))), _SHELLS[-1])
    notes.append(f"{person[0]} gets {other}: the image has no {shell}")
    return [*person[:6], other]


def _passwords(old: Node, people: list[Record]) -> list[Record]:
    known = {each[0]: each for each in read_records(old, "shadow")}
    # A hash in passwd itself works as it is; otherwise an account without a record is locked.
    return [known.get(each[0], [each[0], "!", *[""] * 7]) for each in people]


def _only(group: Record, names: set[str]) -> Record:
    """The group with no members but ``names``."""
    members = [each for each in group[_MEMBERS].split(",") if each in names]
    return [*group[:_MEMBERS], ",".join(members)]


def _with_members(etc: Node, old: Node, names: set[str], notes: list[str]) -> Node:
    """People as members of the image's own groups; a note for each group that it lacks."""
    wanted = {
        each[0]: [name for name in each[_MEMBERS].split(",") if name in names]
        for each in read_records(old, "group")
        if not _is_persons(each[2])
    }
    lacking = sorted(
        name
        for name in wanted.keys() - {each[0] for each in read_records(etc, "group")}
        if wanted[name]
    )
    if lacking:
        notes.append(f"the image has no group {', '.join(lacking)}")
    for file in ("group", "gshadow"):
        records = read_records(etc, file)
        added = [_joined(each, wanted.get(each[0], [])) for each in records]
        if added != records:
            etc = _write(etc, file, added)
    return etc


def _joined(group: Record, names: list[str]) -> Record:
    there = [each for each in group[_MEMBERS].split(",") if each]
    return [*group[:_MEMBERS], ",".join([*there, *(n for n in names if n not in there)])]


def _append(etc: Node, file: str, records: list[Record]) -> Node:
    if not records:
        return etc
    node = node_at(etc, file)
    old = node.entry.read() if node is not None and is_file(node) else b""
    if old and not old.endswith(b"\n"):
        old += b"\n"
    return _put(etc, file, old + _format(records))


def _write(etc: Node, file: str, records: list[Record]) -> Node:
    """The file with the records in the place of its own; lines of other forms stay at its end."""
    node = node_at(etc, file)
    text = node.entry.read().decode(errors="surrogateescape") if node is not None else ""
    others = [line for line in text.splitlines() if len(line.split(":")) != _FIELDS[file]]
    rest = "".join(f"{line}\n" for line in others).encode(errors="surrogateescape")
    return _put(etc, file, _format(records) + rest)


def _put(etc: Node, file: str, content: bytes) -> Node:
    node = node_at(etc, file)
    entry = Entry(kind=Kind.FILE, mode=_MODES.get(file, 0o644))
    if node is not None and is_file(node):
        entry = node.entry
    return replaced(etc, file, Node(with_content(entry, content)))


def _format(records: list[Record]) -> bytes:
    return "".join(":".join(each) + "\n" for each in records).encode(errors="surrogateescape")
