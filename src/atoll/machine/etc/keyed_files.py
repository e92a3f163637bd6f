"""Merging the files of users and groups: record by record, field by field.

===========  ======================================================  =======================
file         a record                                                merged as sets
===========  ======================================================  =======================
passwd       name:password:uid:gid:comment:home:shell
group        name:password:gid:members                               members
shadow       name:password:last change:min:max:warn:inactive:expire:
gshadow      name:password:administrators:members                    administrators, members
subuid       name:start:count (a name may have several)              the records
subgid       name:start:count                                        the records
===========  ======================================================  =======================

Ids never change on a machine, because files in /var and /home belong to them: a name keeps the id
that it has here, and a name that the image adds with an id of another name here is left out. Where
both sides changed a field differently, the machine's record stays. Each such record is reported as
a conflict, and all others are merged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

KEYED = frozenset({"passwd", "group", "shadow", "gshadow", "subuid", "subgid"})

_FIELDS = {"passwd": 7, "group": 4, "shadow": 9, "gshadow": 4}
_SETS = {"group": (3,), "gshadow": (2, 3)}
_IDS = {"passwd": (2, 3), "group": (2,)}
"""The fields that always stay the machine's; no two names may share the first of them."""
_PASSWORD = 1
_LAST_CHANGE = 2
"""In shadow: the day on which the password was set."""

Key: TypeAlias = tuple[bytes, int]
"""The first field, or a whole line that is not a record; and how many equal ones precede it."""
Records: TypeAlias = dict[Key, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedMerge:
    """``conflicts`` says for each record that could not be merged what both sides did to it."""

    content: bytes
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IdConflict:
    """``name`` has ``image_id`` in the image, but not here, or another name has that id here."""

    file: str
    name: str
    image_id: str
    here: str
    """The id of the name here, or the name here that has the image's id."""

    def describe(self) -> str:
        if self.here.isdigit():
            return f"{self.name} has id {self.here} here and {self.image_id} in the image"
        return f"{self.name} has id {self.image_id} in the image, which belongs to {self.here} here"


def find_id_conflicts(file: str, live: bytes, new: bytes) -> tuple[IdConflict, ...]:
    """Names whose id in the image's ``passwd`` or ``group`` is taken on this machine."""
    if file not in _IDS:
        return ()
    here, image = _ids(file, parse_records(file, live)), _ids(file, parse_records(file, new))
    owners = {number: name for name, number in reversed(here.items())}
    found = []
    for name, number in image.items():
        mine = here.get(name)
        owner = owners.get(number)
        if mine is not None and mine != number:
            found.append((name, number, mine))
        elif mine is None and owner is not None and image.get(owner) != number:
            found.append((name, number, owner))
    return tuple(
        IdConflict(file=file, name=_decode(name), image_id=_decode(number), here=_decode(what))
        for name, number, what in found
    )


def merge_keyed(file: str, old: bytes, live: bytes, new: bytes) -> KeyedMerge:
    """Merge ``file`` (its name in ``/etc``, one of ``KEYED``); ``old`` is empty without a base."""
    merger = _Merger(
        file=file,
        old=parse_records(file, old),
        live=parse_records(file, live),
        new=parse_records(file, new),
    )
    merger.merge()
    return KeyedMerge(content=_format(merger.merged), conflicts=tuple(merger.conflicts))


def take_image_records(file: str, live: bytes, image: bytes) -> KeyedMerge:
    """The image's records, and the machine's own besides; ids stay the machine's.

    A group keeps the members of both: a merge base without members lets each side add its own.
    """
    theirs = parse_records(file, image)
    base = {
        key: _join(_without_members(file, line))
        for key, line in parse_records(file, live).items()
        if key in theirs
    }
    return merge_keyed(file, _format(base), live, image)


def parse_records(file: str, content: bytes) -> Records:
    records: Records = {}
    for line in content.split(b"\n"):
        if not line:
            continue
        # A line that is not a record (a comment, the "+" lines of NIS) is kept or dropped as a
        # whole, and so is a range of subordinate ids, of which a name may have several.
        whole = file not in _FIELDS or line[:1] in (b"#", b"+", b"-")
        name = line if whole else line.split(b":")[0]
        times = 0
        while (name, times) in records:
            times += 1
        records[name, times] = line
    return records


@dataclass(slots=True, kw_only=True)
class _Merger:
    file: str
    old: Records
    live: Records
    new: Records
    merged: Records = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)

    def merge(self) -> None:
        for key in self.live:
            line = self._merge_known(key)
            if line is not None:
                self.merged[key] = line
        before: Key | None = None
        for key in self.new:
            if key not in self.live and self._should_add(key):
                self.merged = _inserted(self.merged, key, self.new[key], after=before)
            if key in self.merged:
                before = key

    def _merge_known(self, key: Key) -> bytes | None:
        """The merged record of a name that the machine has; None when it is removed."""
        old, live, new = self.old.get(key), self.live[key], self.new.get(key)
        if new is None:
            if old is not None and old != live:
                self._conflict(key, "changed here, removed in the image")
            return None if old == live else live
        if live == new:
            return live
        fields = [None if line is None else line.split(b":") for line in (old, live, new)]
        lengths = {len(words) for words in fields if words is not None}
        if lengths == {_FIELDS.get(self.file)}:
            base, mine, theirs = fields
            assert mine is not None
            assert theirs is not None
            return self._merge_fields(key, base, mine, theirs)
        if live != old and new != old:
            self._conflict(key, "changed here and in the image")
            return live
        return new if live == old else live

    def _merge_fields(
        self, key: Key, base: list[bytes] | None, mine: list[bytes], theirs: list[bytes]
    ) -> bytes:
        merged: list[bytes] = []
        for index, (here, there) in enumerate(zip(mine, theirs, strict=True)):
            before = None if base is None else base[index]
            if here == there or there == before:
                merged.append(here)
            elif index in _SETS.get(self.file, ()):
                same = here == before
                merged.append(there if same else _merge_set(before or b"", here, there))
            elif index in _IDS.get(self.file, ()):
                self._conflict(key, f"id {_decode(here)} here, {_decode(there)} in the image")
                return self.live[key]
            elif here == before:
                merged.append(there)
            elif (
                self.file == "shadow" and index == _PASSWORD and base is None and _is_locked(there)
            ):
                # Both added the account, and only here somebody chose a password.
                merged.append(here)
            elif self.file == "shadow" and index == _LAST_CHANGE:
                # The day belongs to the password that was chosen, so it is never a conflict.
                merged.append(here if merged[1] == mine[1] else there)
            else:
                self._conflict(key, "changed here and in the image")
                return self.live[key]
        return _join(merged)

    def _should_add(self, key: Key) -> bool:
        """Whether a record that only the image has is added."""
        old, new = self.old.get(key), self.new[key]
        if old is not None:
            if _without_last_change(self.file, old) != _without_last_change(self.file, new):
                self._conflict(key, "removed here, changed in the image")
            return False
        other = self._find_conflicting(key)
        if other is not None:
            self._conflict(key, f"its id is taken by {_decode(other)} here")
        return other is None

    def _find_conflicting(self, key: Key) -> bytes | None:
        """The name that has the id, or a part of the range, of the image's record ``key``."""
        for other, line in self.merged.items():
            # Two names that share an id in the image as well do so on purpose.
            if _share_id(self.file, line, self.new[key]) and not _share_id(
                self.file, self.new.get(other, b""), self.new[key]
            ):
                return other[0]
        return None

    def _conflict(self, key: Key, why: str) -> None:
        self.conflicts.append(f"{_decode(key[0].split(b':')[0])}: {why}")


def _inserted(records: Records, key: Key, line: bytes, *, after: Key | None) -> Records:
    """``records`` with one more behind ``after``, or first.

    So neighbours in the image stay neighbours, and the "+" line of NIS stays last, as it must.
    """
    result: Records = {} if after is not None else {key: line}
    for each, text in records.items():
        result[each] = text
        if each == after:
            result[key] = line
    return result


def _merge_set(old: bytes, here: bytes, there: bytes) -> bytes:
    before, mine, theirs = (
        [name for name in text.split(b",") if name] for text in (old, here, there)
    )
    kept = [name for name in mine if name in theirs or name not in before]
    added = [name for name in theirs if name not in before and name not in mine]
    return here if mine == kept and not added else b",".join([*kept, *added])


def _share_id(file: str, line: bytes, other: bytes) -> bool:
    if file in _IDS:
        number = _field(line, _IDS[file][0])
        return number is not None and number == _field(other, _IDS[file][0])
    return file not in _FIELDS and _overlap(line, other)


def _overlap(line: bytes, other: bytes) -> bool:
    ranges = []
    for text in (line, other):
        words = text.split(b":")
        if len(words) != 3 or not (words[1].isdigit() and words[2].isdigit()):
            return False
        ranges.append((int(words[1]), int(words[1]) + int(words[2])))
    (begin, end), (other_begin, other_end) = ranges
    return begin < other_end and other_begin < end


def _ids(file: str, records: Records) -> dict[bytes, bytes]:
    index = _IDS[file][0]
    found = {}
    for name, _ in records:
        number = _field(records[name, 0], index)
        if number is not None:
            found[name] = number
    return found


def _field(line: bytes, index: int) -> bytes | None:
    words = line.split(b":")
    return words[index] if index < len(words) and words[index].isdigit() else None


def _without_members(file: str, line: bytes) -> list[bytes]:
    return [
        b"" if index in _SETS.get(file, ()) else word for index, word in enumerate(line.split(b":"))
    ]


def _without_last_change(file: str, line: bytes) -> list[bytes]:
    words = line.split(b":")
    return words[:_LAST_CHANGE] + words[_LAST_CHANGE + 1 :] if file == "shadow" else words


def _is_locked(password: bytes) -> bool:
    return password[:1] in (b"!", b"*")


def _join(words: list[bytes]) -> bytes:
    return b":".join(words)


def _format(records: Records) -> bytes:
    return b"".join(line + b"\n" for line in records.values())


def _decode(text: bytes) -> str:
    return text.decode(errors="backslashreplace")
