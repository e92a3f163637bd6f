"""One TOML table against the schema: what is right in it, and every flaw. Pure.

What is left is a table of the same shape in which the parser need not look at types again: a value
that is wrong is None, and so is a table that is none; nobody complains about those twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from atoll.base.fields import Flaw, Key, suggest, wrong_type
from atoll.recipe.language.foreign_keys import ELSEWHERE, OURS
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
"""What was probably meant by an unknown name, of the names that are known where it stands."""
Checked: TypeAlias = dict[str, object]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class _Answer:
    """Whom flaws are told, and what is said of a name that nobody knows."""

    complain: Complain
    hint: Hint


_TYPES: dict[ValueKind, type] = {
    ValueKind.TEXT: str,
    ValueKind.NUMBER: int,
    ValueKind.SWITCH: bool,
    ValueKind.TEXTS: list,
    ValueKind.MAP: dict,
}

_WORDS = {
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
    """The right values of ``table``, which is all of a file, by a schema of its own."""
    return _check_table(rule, table, (), _Answer(complain, hint))


def check_file(table: Mapping[str, object], complain: Complain) -> tuple[tuple[Key, Checked], ...]:
    """The fragments of one file in its order with their keys: what always holds first, at ()."""
    answer = _Answer(complain, _hint)
    known = (*TOP.names, *FRAGMENTS)
    _refuse_unknown(TOP, known, table, (), answer)
    fragments: list[tuple[Key, Checked]] = [((), _check_known(TOP, table, (), answer))]
    for kind in FRAGMENTS:
        inner = table.get(kind, {})
        if not isinstance(inner, dict):
            answer.complain((kind,), wrong_type(dict, inner))
            continue
        fragments += _check_fragments(kind, inner, answer)
    return tuple(fragments)


def _check_fragments(
    kind: str, tables: Mapping[str, object], answer: _Answer
) -> Iterator[tuple[Key, Checked]]:
    for name, table in tables.items():
        key = (kind, name)
        flaw = FRAGMENT_CHECKS[kind](name)
        if flaw:
            answer.complain(key, flaw)
        elif not isinstance(table, dict):
            answer.complain(key, wrong_type(dict, table))
        else:
            _refuse_unknown(FRAGMENT, FRAGMENT.names, table, key, answer)
            yield key, _check_known(FRAGMENT, table, key, answer)


def _refuse_unknown(
    rule: TableRule,
    known: tuple[str, ...],
    table: Mapping[str, object],
    key: Key,
    answer: _Answer,
) -> None:
    for name in table:
        if name in known:
            continue
        if rule is FRAGMENT and name in (*TOP.names, *FRAGMENTS):
            answer.complain(
                (*key, name), Flaw(f"cannot be in a {key[0]}", "it belongs at the top of the file")
            )
        else:
            answer.complain((*key, name), Flaw("unknown key", answer.hint(name, known)))


def _hint(name: str, known: tuple[str, ...]) -> str:
    """The nearest name here; else where something of that name is; else all names here."""
    hint = suggest(name, known)
    if hint.startswith("did you mean"):
        return hint
    word = name.lower().replace("-", "_")
    if word in ELSEWHERE:
        return ELSEWHERE[word]
    ours = OURS.get(word, "")
    if name in TOP.names or ours in TOP.names:
        top = name if name in TOP.names else ours
        table = TOP.find_table(top)
        if table is None and top == ours:
            return f"did you mean: {top}"
        return f"did you mean: {format_heading(top, table)}" if table else "it stands at the top"
    if ours:
        return f"did you mean: {ours}"
    elsewhere = [path for path, _ in each_key() if path.endswith(f".{name}")]
    return f"did you mean: {elsewhere[0]}" if len(elsewhere) == 1 else hint


def _check_table(
    rule: TableRule, table: Mapping[str, object], key: Key, answer: _Answer
) -> Checked:
    _refuse_unknown(rule, rule.names, table, key, answer)
    return _check_known(rule, table, key, answer)


def _check_known(
    rule: TableRule, table: Mapping[str, object], key: Key, answer: _Answer
) -> Checked:
    checked: Checked = {}
    for key_rule in rule.keys:
        if key_rule.name in table:
            place = (*key, key_rule.name)
            checked[key_rule.name] = _check_value(key_rule, table[key_rule.name], place, answer)
    for inner in rule.tables:
        if inner.name in table:
            place = (*key, inner.name)
            read = _check_rows if inner.row else _check_inner
            checked[inner.name] = read(inner, table[inner.name], place, answer)
    return checked


def _check_inner(rule: TableRule, value: object, key: Key, answer: _Answer) -> object:
    if isinstance(value, dict):
        return _check_table(rule, value, key, answer)
    answer.complain(key, wrong_type(dict, value))
    return None


def _check_rows(rule: TableRule, value: object, key: Key, answer: _Answer) -> object:
    if isinstance(value, dict):
        name = ".".join(part for part in key if isinstance(part, str))
        answer.complain(key, Flaw("is a list of tables", f"with two brackets: [[{name}]]"))
        return None
    if not isinstance(value, list):
        answer.complain(key, wrong_type(list, value))
        return None
    rows = [_check_inner(rule, row, (*key, number), answer) for number, row in enumerate(value)]
    _refuse_repeated_rows(rule, rows, key, answer)
    return rows


def _refuse_repeated_rows(rule: TableRule, rows: list[object], key: Key, answer: _Answer) -> None:
    assert rule.row is not None
    seen = set()
    for number, row in enumerate(rows):
        name = row.get(rule.row) if isinstance(row, dict) else None
        if name is not None and name in seen:
            twice = "written twice" if rule.row == "path" else f"a {_WORDS[rule.name]} already"
            answer.complain((*key, number, rule.row), Flaw(f"{name} is {twice}"))
        seen.add(name)


def _check_value(rule: KeyRule, value: object, key: Key, answer: _Answer) -> object:
    kind = _TYPES[rule.kind]
    # To Python, true is a number; to a person it is not.
    if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
        answer.complain(key, wrong_type(kind, value))
        return None
    match value:
        case list():
            return _check_items(rule, value, key, answer)
        case dict():
            return _check_map(rule, value, key, answer)
        case str():
            flaw = _judge(rule, value)
        case bool():
            flaw = None
        case int():
            flaw = _judge_number(rule, value)
    if flaw:
        answer.complain(key, flaw)
    return None if flaw else value


def _check_items(rule: KeyRule, items: list[object], key: Key, answer: _Answer) -> object:
    checked: list[str | None] = []
    seen: set[str] = set()
    repeated: list[tuple[Key, Flaw]] = []
    for number, item in enumerate(items):
        place = (*key, number)
        flaw = _judge(rule, item) if isinstance(item, str) else wrong_type(str, item)
        if flaw:
            answer.complain(place, flaw)
        checked.append(item if isinstance(item, str) and not flaw else None)
        if not flaw and rule.unique and isinstance(item, str):
            same = rule.same(item)
            if same in seen:
                repeated.append((place, Flaw(f"{same} is in it twice")))
            seen.add(same)
    for place, twice in repeated:
        answer.complain(place, twice)
    return checked


def _check_map(rule: KeyRule, pairs: Mapping[str, object], key: Key, answer: _Answer) -> object:
    checked: dict[str, str | None] = {}
    for name, item in pairs.items():
        flaw = rule.check_name(name) if rule.check_name else None
        if not flaw:
            flaw = _judge(rule, item) if isinstance(item, str) else wrong_type(str, item)
        if flaw:
            answer.complain((*key, name), flaw)
        checked[name] = item if isinstance(item, str) and not flaw else None
    return checked


def _judge(rule: KeyRule, text: str) -> Flaw | None:
    if rule.choices and text not in rule.choices:
        return Flaw(f"{text!r} is not one of: {', '.join(rule.choices)}")
    return rule.check(text) if rule.check else None


def _judge_number(rule: KeyRule, number: int) -> Flaw | None:
    if rule.least is not None and number < rule.least:
        return Flaw(f"must be at least {rule.least}, not {number}")
    if rule.most is not None and number > rule.most:
        return Flaw(f"must be at most {rule.most}, not {number}")
    return None
