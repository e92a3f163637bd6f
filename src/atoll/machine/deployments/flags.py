"""Flags of deployments, set after their commit, as files below ``atoll/state/``::

pinned/<n>         empty: policy never removes the deployment
blessed/<n>        empty: it booted successfully once (see systemd-bless-boot.service)
held/<tree>        automatic updates do not install this tree again, and why:
                   {"format": 1, "deployment": 4, "version": "2", "why": "…", "when": <seconds>}
numbers.json       {"deployment": 5, "sequence": 9}: the last numbers given; none is reused
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.base.fields import parse_json_fields
from atoll.base.ids import TreeId, is_hex_digest
from atoll.host.fs import (
    OWN_LIMIT,
    fsync_directory,
    list_names,
    read_if_there,
    read_regular,
    replace_file,
)
from atoll.machine.deployment import is_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

FORMAT = 1
PINNED, BLESSED, HELD = "pinned", "blessed", "held"
NUMBERS = "numbers.json"
NUMBER_LIMIT = 10**9 - 1000
"""Numbers of deployments and entries have at most nine digits."""
UNKNOWN = 0
"""The deployment of a hold that cannot be read."""
ROLLED_BACK = "rolled back"
"""Why a tree is held after a rollback from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Why a tree is not installed again automatically. ``when`` is in seconds since 1970."""

    deployment: int
    version: str
    why: str
    when: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """``unreadable`` lists flags that could not be read: what is pinned or blessed is then
    unknown."""

    pinned: frozenset[int] = frozenset()
    blessed: frozenset[int] = frozenset()
    held: Mapping[TreeId, Hold] = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()

    def hold_of(self, deployment: int, tree: TreeId) -> Hold | None:
        """The hold that names this deployment, or that cannot be read. Another deployment of the
        same tree is not held: it may have booted, with other settings."""
        hold = self.held.get(tree)
        return hold if hold is not None and hold.deployment in (deployment, UNKNOWN) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastNumbers:
    """The last number of a deployment, and the last sequence number of an entry."""

    deployment: int = 0
    sequence: int = 0


def read_flags(state: Path) -> Flags:
    """The flags below ``state``; a hold that cannot be read still holds its tree."""
    found: dict[str, list[str]] = {}
    unreadable = []
    for kind in (PINNED, BLESSED, HELD):
        try:
            found[kind] = list_names(state / kind)
        except OSError as error:
            unreadable.append(f"the flags in {state / kind} cannot be read: {error.strerror}")
    held = [TreeId(name) for name in found.get(HELD, ()) if is_hex_digest(name)]
    return Flags(
        pinned=_numbers(found.get(PINNED, ())),
        blessed=_numbers(found.get(BLESSED, ())),
        held={tree: _read_hold(state / HELD / tree) for tree in held},
        unreadable=tuple(unreadable),
    )


def format_hold(hold: Hold) -> bytes:
    return (
        json.dumps(
            {
                "format": FORMAT,
                "deployment": hold.deployment,
                "version": hold.version,
                "why": hold.why,
                "when": hold.when,
            }
        ).encode()
        + b"\n"
    )


def parse_hold(data: bytes, *, where: str) -> Hold:
    """Raises Damaged."""
    fields = parse_json_fields(data, file=where)
    fields.require_format(FORMAT)
    return Hold(
        deployment=fields.integer("deployment"),
        version=fields.string("version"),
        why=fields.string("why"),
        when=fields.integer("when"),
    )


def read_numbers(state: Path) -> LastNumbers:
    """Raises Damaged."""
    path = state / NUMBERS
    data = read_if_there(path)
    if data is None:
        return LastNumbers()
    fields = parse_json_fields(data, file=str(path))
    for key in ("deployment", "sequence"):
        if not 0 <= fields.integer(key) < NUMBER_LIMIT:
            fields.flaw(key, "is not a number that Atoll assigns")
    return LastNumbers(deployment=fields.integer("deployment"), sequence=fields.integer("sequence"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFlag:
    """Write a flag file durably."""

    path: Path
    content: bytes = b""

    def describe(self) -> str:
        return f"write {self.path}"

    def execute(self) -> None:
        if not self.path.parent.is_dir():
            self.path.parent.mkdir(parents=True)
            fsync_directory(self.path.parent.parent)
        replace_file(self.path, self.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearFlag:
    path: Path

    def describe(self) -> str:
        return f"remove {self.path}"

    def execute(self) -> None:
        if self.path.exists():
            self.path.unlink()
            fsync_directory(self.path.parent)


def set_hold(state: Path, tree: TreeId, hold: Hold) -> SetFlag:
    return SetFlag(path=state / HELD / tree, content=format_hold(hold))


def plan_clear_hold(
    state: Path, held: Mapping[TreeId, Hold], deployment: int
) -> tuple[ClearFlag, ...]:
    """What clears the hold that names ``deployment``; nothing where none does."""
    return tuple(
        ClearFlag(path=state / HELD / tree)
        for tree, hold in held.items()
        if hold.deployment == deployment
    )


def set_last_numbers(state: Path, numbers: LastNumbers) -> SetFlag:
    document = {"deployment": numbers.deployment, "sequence": numbers.sequence}
    return SetFlag(path=state / NUMBERS, content=json.dumps(document).encode() + b"\n")


def _read_hold(path: Path) -> Hold:
    try:
        return parse_hold(read_regular(path, limit=OWN_LIMIT), where=str(path))
    except (OSError, Damaged):
        return Hold(deployment=UNKNOWN, version="", why=f"{path} cannot be read", when=0)


def _numbers(names: Iterable[str]) -> frozenset[int]:
    return frozenset(int(name) for name in names if is_number(name))
