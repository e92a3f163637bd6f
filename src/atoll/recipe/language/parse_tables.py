"""Check a TOML table against the schema: keep what is valid, report every flaw. Pure.

The result has the same shape, and the rest of the parser need not check types again: an invalid
value or table is None, and is not reported a second time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from atoll.base.fields import Flaw, Key, suggest, wrong_type
from atoll.recipe.language.foreign_keys import ADVICE, EQUIVALENTS
from atoll.recipe.language.schema import (
    FRAGMENT,
    FRAGMENT_CHECKS,
    FRAGMENTS,
    TOP,
    each_key,
    format_heading,
)
from atoll.recipe.language.schema_model import KeyRule, TableRule, ValueKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Complain: TypeAlias = Callable[[Key, Flaw], None]
Hint: TypeAlias = Callable[[str, tuple[str, ...]], str]
"""Returns a hint for an unknown name, given the names that are known in its table."""
Checked: TypeAlias = dict[str, object]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Callbacks:
    """Receives flaws, and gives hints for unknown names."""

    complain: Complain
    hint: Hint


_TYPES: dict[ValueKind, type] = {
    ValueKind.TEXT: str,
    ValueKind.NUMBER: int,
    ValueKind.BOOLEAN: bool,
    ValueKind.TEXTS: list,
    ValueKind.MAP: dict,
}

_ROW_NAMES = {
    "box": "box",
    "check": "check",
    "group": "group",
    "repo": "repository",
    "script": "script",
    "user": "user",
}


def check_table(
    rule: TableRule, table: Mapping[str, object], complain: Complain, hint: Hint
) -> Checked:
    """The valid values of ``table``, a whole file with the schema ``rule``."""
    return _check_table(rule, table, (), _Callbacks(complain, hint))


def check_file(table: Mapping[str, object], complain: Complain) -> tuple[tuple[Key, Checked], ...]:
    """The fragments of one file with their keys, in order; the unconditional one, (), is first."""
    callbacks = _Callbacks(complain, _hint)
    known = (*TOP.names, *FRAGMENTS)
    _refuse_unknown(TOP, known, table, (), callbacks)
    fragments: list[tuple[Key, Checked]] = [((), _check_known(TOP, table, (), callbacks))]
    for kind in FRAGMENTS:
        inner = table.get(kind, {})
        if not isinstance(inner, dict):
            callbacks.complain((kind,), wrong_type(dict, inner))
            continue
        fragments += _check_fragments(kind, inner, callbacks)
    return tuple(fragments)


def _check_fragments(
    kind: str, tables: Mapping[str, object], callbacks: _Callbacks
) -> Iterator[tuple[Key, Checked]]:
    for name, table in tables.items():
        key = (kind, name)
        flaw = FRAGMENT_CHECKS[kind](name)
        if flaw:
            callbacks.complain(key, flaw)
        elif not isinstance(table, dict):
            callbacks.complain(key, wrong_type(dict, table))
        else:
            _refuse_unknown(FRAGMENT, FRAGMENT.names, table, key, callbacks)
            yield key, _check_known(FRAGMENT, table, key, callbacks)


def _refuse_unknown(
    rule: TableRule,
    known: tuple[str, ...],
    table: Mapping[str, object],
    key: Key,
    callbacks: _Callbacks,
) -> None:
    for name in table:
        if name in known:
            continue
        if rule is FRAGMENT and name in (*TOP.names, *FRAGMENTS):
            callbacks.complain(
                (*key, name), Flaw(f"cannot be in a {key[0]}", "it belongs at the top of the file")
            )
        else:
            callbacks.complain((*key, name), Flaw("unknown key", callbacks.hint(name, known)))


def _hint(name: str, known: tuple[str, ...]) -> str:
    """A suggestion for an unknown key: a similar name here, or where such a key belongs."""
    hint = suggest(name, known)
    if hint.startswith("did you mean"):
        return hint
    normalized = name.lower().replace("-", "_")
    if normalized in ADVICE:
        return ADVICE[normalized]
    equivalent = EQUIVALENTS.get(normalized, "")
    if name in TOP.names or equivalent in TOP.names:
        top = name if name in TOP.names else equivalent
        table = TOP.find_table(top)
        if table is None and top == equivalent:
            return f"did you mean: {top}"
        return (
            f"did you mean: {format_heading(top, table)}"
            if table
            else "it belongs at the top of the file"
        )
    if equivalent:
        return f"did you mean: {equivalent}"
    elsewhere = [path for path, _ in each_key() if path.endswith(f".{name}")]
    return f"did you mean: {elsewhere[0]}" if len(elsewhere) == 1 else hint


def _check_table(
    rule: TableRule, table: Mapping[str, object], key: Key, callbacks: _Callbacks
) -> Checked:
    _refuse_unknown(rule, rule.names, table, key, callbacks)
    return _check_known(rule, table, key, callbacks)


def _check_known(
    rule: TableRule, table: Mapping[str, object], key: Key, callbacks: _Callbacks
) -> Checked:
    checked: Checked = {}
    for key_rule in rule.keys:
        if key_rule.name in table:
            value_key = (*key, key_rule.name)
            checked[key_rule.name] = _check_value(
                key_rule, table[key_rule.name], value_key, callbacks
            )
    for inner in rule.tables:
        if inner.name in table:
            value_key = (*key, inner.name)
            read = _check_rows if inner.row else _check_inner
            checked[inner.name] = read(inner, table[inner.name], value_key, callbacks)
    return checked


def _check_inner(rule: TableRule, value: object, key: Key, callbacks: _Callbacks) -> object:
    if isinstance(value, dict):
        return _check_table(rule, value, key, callbacks)
    callbacks.complain(key, wrong_type(dict, value))
    return None


def _check_rows(rule: TableRule, value: object, key: Key, callbacks: _Callbacks) -> object:
    if isinstance(value, dict):
        name = ".".join(part for part in key if isinstance(part, str))
        callbacks.complain(key, Flaw("is a list of tables", f"with two brackets: [[{name}]]"))
        return None
    if not isinstance(value, list):
        callbacks.complain(key, wrong_type(list, value))
        return None
    rows = [_check_inner(rule, row, (*key, number), callbacks) for number, row in enumerate(value)]
    _refuse_repeated_rows(rule, rows, key, callbacks)
    return rows


def _refuse_repeated_rows(
    rule: TableRule, rows: list[object], key: Key, callbacks: _Callbacks
) -> None:
    assert rule.row is not None
    seen = set()
    for number, row in enumerate(rows):
        name = row.get(rule.row) if isinstance(row, dict) else None
        if name is not None and name in seen:
            problem = (
                "written twice" if rule.row == "path" else f"a {_ROW_NAMES[rule.name]} already"
            )
            callbacks.complain((*key, number, rule.row), Flaw(f"{name} is {problem}"))
        seen.add(name)


def _check_value(rule: KeyRule, value: object, key: Key, callbacks: _Callbacks) -> object:
    kind = _TYPES[rule.kind]
    # In Python a bool is an int; in a recipe it is not.
    if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
        callbacks.complain(key, wrong_type(kind, value))
        return None
    match value:
        case list():
            return _check_items(rule, value, key, callbacks)
        case dict():
            return _check_map(rule, value, key, callbacks)
        case str():
            flaw = _check_text(rule, value)
        case bool():
            flaw = None
        case int():
            flaw = _check_number(rule, value)
    if flaw:
        callbacks.complain(key, flaw)
    return None if flaw else value


def _check_items(rule: KeyRule, items: list[object], key: Key, callbacks: _Callbacks) -> object:
    checked: list[str | None] = []
    seen: set[str] = set()
    repeated: list[tuple[Key, Flaw]] = []
    for number, item in enumerate(items):
        value_key = (*key, number)
        flaw = _check_text(rule, item) if isinstance(item, str) else wrong_type(str, item)
        if flaw:
            callbacks.complain(value_key, flaw)
        checked.append(item if isinstance(item, str) and not flaw else None)
        if not flaw and rule.unique and isinstance(item, str):
            item_key = rule.item_key(item)
            if item_key in seen:
                repeated.append((value_key, Flaw(f"{item_key} is in it twice")))
            seen.add(item_key)
    for value_key, problem in repeated:
        callbacks.complain(value_key, problem)
    return checked


def _check_map(
    rule: KeyRule, pairs: Mapping[str, object], key: Key, callbacks: _Callbacks
) -> object:
    checked: dict[str, str | None] = {}
    for name, item in pairs.items():
        flaw = rule.check_name(name) if rule.check_name else None
        if not flaw:
            flaw = _check_text(rule, item) if isinstance(item, str) else wrong_type(str, item)
        if flaw:
            callbacks.complain((*key, name), flaw)
        checked[name] = item if isinstance(item, str) and not flaw else None
    return checked


def _check_text(rule: KeyRule, text: str) -> Flaw | None:
    if rule.choices and text not in rule.choices:
        return Flaw(f"{text!r} is not one of: {', '.join(rule.choices)}")
    return rule.check(text) if rule.check else None


def _check_number(rule: KeyRule, number: int) -> Flaw | None:
    if rule.least is not None and number < rule.least:
        return Flaw(f"must be at least {rule.least}, not {number}")
    if rule.most is not None and number > rule.most:
        return Flaw(f"must be at most {rule.most}, not {number}")
    return None
