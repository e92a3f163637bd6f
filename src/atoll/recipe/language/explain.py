"""Explain a key or table of the language, and find what sets a key in a recipe. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import UsageError
from atoll.base.suggest import find_nearest
from atoll.recipe.language.diagnostics import Diagnostics
from atoll.recipe.language.foreign_keys import ADVICE, EQUIVALENTS
from atoll.recipe.language.merge import merge
from atoll.recipe.language.schema import FRAGMENTS, TOP, each_key, each_table
from atoll.recipe.language.schema_model import KeyRule, TableRule, ValueKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from atoll.recipe.language.includes import LoadedRecipe
    from atoll.recipe.language.merge import LocatedValue, MergedTable


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainTopic:
    """A key or table to explain. ``path`` is dotted, as in ``units.user.enable``."""

    path: str
    rule: KeyRule | TableRule


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySetting:
    """Where a value, or an item of a list or map, is set.

    ``variant`` or ``condition`` is the fragment that contains it. ``row`` names the tables of lists
    that contain it, such as a user's name; ``name`` is the item's name in a map. ``effective`` is
    False if a later setting replaces it.
    """

    value: str | int | bool
    file: str
    line: int | None
    variant: str | None = None
    condition: str | None = None
    row: tuple[str, ...] = ()
    name: str = ""
    effective: bool = True


def find_topic(text: str) -> ExplainTopic:
    """Find ``packages.install``, ``[packages] install``, or ``install`` if it is unambiguous.

    Raises UsageError with suggestions.
    """
    path = ".".join(re.findall(r"[\w-]+", text))
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
        raise UsageError(f"{text} is in several tables", hint=f"choose: {', '.join(ends)}")
    raise UsageError(f"there is no key {text}", hint=_nearest(path, tuple(known)))


def find_settings(top: MergedTable, path: str) -> tuple[KeySetting, ...]:
    """All settings of the key in a merged recipe, in their order."""
    return tuple(_settings(top, path.split("."), ()))


def find_inactive_settings(
    loaded: LoadedRecipe, path: str, found: tuple[KeySetting, ...]
) -> tuple[KeySetting, ...]:
    """Settings of the key in variants that are not chosen and conditions that are not true."""
    settings = [
        setting
        for fragment in loaded.fragments
        if fragment.location.key
        for setting in find_settings(merge([fragment], loaded.top, Diagnostics()), path)
    ]
    return tuple(setting for setting in settings if setting not in found)


def _settings(table: MergedTable, names: list[str], row: tuple[str, ...]) -> Iterator[KeySetting]:
    name, *rest = names
    if rest:
        if name in table.tables:
            yield from _settings(table.tables[name], rest, row)
        for inner in table.each(name):
            assert inner.rule.row is not None
            row_name = inner.optional_text(inner.rule.row) if inner.has(inner.rule.row) else None
            yield from _settings(inner, rest, (*row, row_name or "?"))
        return
    rule = table.rule.find_key(name)
    entries = table.values.get(name, [])
    for number, entry in enumerate(entries):
        is_collection = rule is not None and rule.kind in (ValueKind.TEXTS, ValueKind.MAP)
        setting = _setting(entry, row, effective=is_collection or number == len(entries) - 1)
        if setting:
            yield setting


def _setting(entry: LocatedValue, row: tuple[str, ...], *, effective: bool) -> KeySetting | None:
    if not isinstance(entry.value, str | int):
        return None
    key = entry.location.key
    return KeySetting(
        value=entry.value,
        file=entry.location.source.file,
        line=entry.location.line,
        variant=str(key[1]) if key[0] == "variant" else None,
        condition=str(key[1]) if key[0] == "when" else None,
        row=row,
        name=entry.name,
        effective=effective,
    )


def _below_fragment(path: str, known: Mapping[str, object]) -> str | None:
    """``variant.kde.kernel.args`` → ``kernel.args``."""
    names = path.split(".")[1:]
    below = (".".join(names[start:]) for start in range(1, len(names)))
    return next((name for name in below if name in known), None)


def _nearest(path: str, known: tuple[str, ...]) -> str:
    name_of_key = path.lower().replace("-", "_")
    if name_of_key in EQUIVALENTS:
        return f"see: atoll explain {EQUIVALENTS[name_of_key]}"
    if name_of_key in ADVICE:
        return ADVICE[name_of_key]
    nearest = find_nearest(path.lower(), known, most=3)
    last = name_of_key.rpartition(".")[2]
    ends = find_nearest(last, (name.rpartition(".")[2] for name in known), most=2)
    nearest += tuple(
        name for name in known if name not in nearest and name.rpartition(".")[2] in ends
    )
    return f"did you mean: {', '.join(nearest[:4])}" if nearest else "all tables: atoll explain"
