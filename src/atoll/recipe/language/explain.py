"""What a key or a table of the language is, and who set a key in a recipe. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import UsageError
from atoll.base.suggest import find_nearest
from atoll.recipe.language.diagnostics import Diagnostics
from atoll.recipe.language.foreign_keys import ELSEWHERE, OURS
from atoll.recipe.language.merge import merge
from atoll.recipe.language.schema import FRAGMENTS, TOP, each_key, each_table
from atoll.recipe.language.schema_model import KeyRule, TableRule, ValueKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from atoll.recipe.language.includes import LoadedRecipe
    from atoll.recipe.language.merge import LocatedValue, MergedTable


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainTopic:
    """What is asked about: a key or a table. ``path`` is dotted, as in ``units.user.enable``."""

    path: str
    rule: KeyRule | TableRule


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySetting:
    """Who set a value, or an item of it: ``variant`` or ``condition`` is where it stands.

    ``row`` names the tables of lists that it is in, such as the user's name; ``name`` is its own
    in a map. ``holds`` is False where something later took its place.
    """

    value: str | int | bool
    file: str
    line: int | None
    variant: str | None = None
    condition: str | None = None
    row: tuple[str, ...] = ()
    name: str = ""
    holds: bool = True


def find_subject(words: str) -> ExplainTopic:
    """``packages.install``, ``[packages] install``, or ``install`` where one key is called that.

    Raises UsageError that names the nearest.
    """
    path = ".".join(re.findall(r"[\w-]+", words))
    known: dict[str, KeyRule | TableRule] = {**dict(each_table()), **dict(each_key())}
    if path.startswith(("variant.", "when.")):
        path = _below_fragment(path, known) or path
    if path in known:
        return ExplainTopic(path=path, rule=known[path])
    if path in FRAGMENTS:
        rule = TableRule(name=path, doc=FRAGMENTS[path], tables=TOP.tables)
        return ExplainTopic(path=path, rule=rule)
    ends = [name for name in known if name.endswith(f".{path}")]
    if len(ends) == 1:
        return ExplainTopic(path=ends[0], rule=known[ends[0]])
    if ends:
        raise UsageError(f"{words} is in several tables", hint=f"choose: {', '.join(ends)}")
    raise UsageError(f"there is no key {words}", hint=_nearest(path, tuple(known)))


def find_settings(top: MergedTable, path: str) -> tuple[KeySetting, ...]:
    """Everything that set the key in a merged recipe, in the order in which it came."""
    return tuple(_settings(top, path.split("."), ()))


def find_elsewhere(
    gathered: LoadedRecipe, path: str, found: tuple[KeySetting, ...]
) -> tuple[KeySetting, ...]:
    """What sets the key in variants that are not chosen, and under conditions that do not hold."""
    settings = [
        setting
        for fragment in gathered.fragments
        if fragment.place.key
        for setting in find_settings(merge([fragment], gathered.top, Diagnostics()), path)
    ]
    return tuple(setting for setting in settings if setting not in found)


def _settings(table: MergedTable, names: list[str], row: tuple[str, ...]) -> Iterator[KeySetting]:
    name, *rest = names
    if rest:
        if name in table.tables:
            yield from _settings(table.tables[name], rest, row)
        for inner in table.each(name):
            assert inner.rule.row is not None
            shown = inner.maybe_text(inner.rule.row) if inner.has(inner.rule.row) else None
            yield from _settings(inner, rest, (*row, shown or "?"))
        return
    rule = table.rule.find_key(name)
    placed = table.values.get(name, [])
    for number, entry in enumerate(placed):
        several = rule is not None and rule.kind in (ValueKind.TEXTS, ValueKind.MAP)
        setting = _setting(entry, row, holds=several or number == len(placed) - 1)
        if setting:
            yield setting


def _setting(entry: LocatedValue, row: tuple[str, ...], *, holds: bool) -> KeySetting | None:
    if not isinstance(entry.value, str | int):
        return None
    key = entry.place.key
    return KeySetting(
        value=entry.value,
        file=entry.place.source.file,
        line=entry.place.line,
        variant=str(key[1]) if key[0] == "variant" else None,
        condition=str(key[1]) if key[0] == "when" else None,
        row=row,
        name=entry.name,
        holds=holds,
    )


def _below_fragment(path: str, known: Mapping[str, object]) -> str | None:
    """``kernel.args`` in ``variant.kde.kernel.args``."""
    names = path.split(".")[1:]
    below = (".".join(names[start:]) for start in range(1, len(names)))
    return next((name for name in below if name in known), None)


def _nearest(path: str, known: tuple[str, ...]) -> str:
    word = path.lower().replace("-", "_")
    if word in OURS:
        return f"see: atoll explain {OURS[word]}"
    if word in ELSEWHERE:
        return ELSEWHERE[word]
    near = find_nearest(path.lower(), known, most=3)
    last = word.rpartition(".")[2]
    ends = find_nearest(last, (name.rpartition(".")[2] for name in known), most=2)
    near += tuple(name for name in known if name not in near and name.rpartition(".")[2] in ends)
    return f"did you mean: {', '.join(near[:4])}" if near else "all tables: atoll explain"
