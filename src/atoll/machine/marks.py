"""What happened to deployments after their commit, as files below ``atoll/state/``::

pinned/<n>         empty: policy never removes the deployment
blessed/<n>        empty: it came up healthy once
held/<tree>        automatic updates do not take this tree again, and why not:
                   {"format": 1, "deployment": 4, "version": "2", "why": "…", "when": <seconds>}
numbers.json       {"deployment": 5, "sequence": 9}: the last ones given, for none comes twice
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.base.fields import parse_json_fields
from atoll.base.ids import TreeId, is_hex_digest
from atoll.host.files import fsync_directory, replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = 1
PINNED, BLESSED, HELD = "pinned", "blessed", "held"
NUMBERS = "numbers.json"
ROLLED_BACK = "rolled back"
"""Why a tree is held that a person went back from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why a tree is not taken again by itself. ``when`` is in seconds since 1970."""

    deployment: int
    version: str
    why: str
    when: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    pinned: frozenset[int] = frozenset()
    blessed: frozenset[int] = frozenset()
    held: Mapping[TreeId, Hold] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """The last number of a deployment, and the last sequence number of an entry."""

    deployment: int = 0
    sequence: int = 0


def read_marks(state: Path) -> Marks:
    """The marks below ``state``; a hold that cannot be read holds all the same."""
    return Marks(
        pinned=_numbers(state / PINNED),
        blessed=_numbers(state / BLESSED),
        held={
            TreeId(name): _read_hold(state / HELD / name)
            for name in _names(state / HELD)
            if is_hex_digest(name)
        },
    )


def format_hold(hold: Hold) -> bytes:
    return json.dumps(
        {
            "format": FORMAT,
            "deployment": hold.deployment,
            "version": hold.version,
            "why": hold.why,
            "when": hold.when,
        }
    ).encode() + b"\n"  # fmt: skip


def parse_hold(data: bytes, *, where: str) -> Hold:
    """Raises Damaged."""
    fields = parse_json_fields(data, file=where)
    if fields.integer("format") != FORMAT:
        fields.flaw("format", f"must be {FORMAT}")
    return Hold(
        deployment=fields.integer("deployment"),
        version=fields.string("version"),
        why=fields.string("why"),
        when=fields.integer("when"),
    )


def read_numbers(state: Path) -> Numbers:
    """Raises Damaged."""
    path = state / NUMBERS
    try:
        fields = parse_json_fields(path.read_bytes(), file=str(path))
    except FileNotFoundError:
        return Numbers()
    return Numbers(deployment=fields.integer("deployment"), sequence=fields.integer("sequence"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMark:
    """``path`` is there with ``content``, durably."""

    path: Path
    content: bytes = b""

    def describe(self) -> str:
        return f"mark {self.path}"

    def execute(self) -> None:
        if not self.path.parent.is_dir():
            self.path.parent.mkdir(parents=True)
            fsync_directory(self.path.parent.parent)
        replace_file(self.path, self.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearMark:
    path: Path

    def describe(self) -> str:
        return f"no mark {self.path}"

    def execute(self) -> None:
        if self.path.exists():
            self.path.unlink()
            fsync_directory(self.path.parent)


def hold_mark(state: Path, tree: TreeId, hold: Hold) -> SetMark:
    return SetMark(path=state / HELD / tree, content=format_hold(hold))


def numbers_mark(state: Path, numbers: Numbers) -> SetMark:
    document = {"deployment": numbers.deployment, "sequence": numbers.sequence}
    return SetMark(path=state / NUMBERS, content=json.dumps(document).encode() + b"\n")


def _read_hold(path: Path) -> Hold:
    try:
        return parse_hold(path.read_bytes(), where=str(path))
    except (OSError, Damaged):
        return Hold(deployment=0, version="", why=f"{path} cannot be read", when=0)


def _numbers(directory: Path) -> frozenset[int]:
    return frozenset(int(name) for name in _names(directory) if name.isdecimal())


def _names(directory: Path) -> list[str]:
    try:
        return sorted(path.name for path in directory.iterdir())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
