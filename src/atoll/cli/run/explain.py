"""``atoll explain``: what it does; ``cli/explain.py`` has its arguments."""

from __future__ import annotations

import inspect
import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from atoll.base import errors
from atoll.base.errors import UsageError
from atoll.base.text import one_line
from atoll.cli.output.errors import BROKEN_PIPE, UNEXPECTED
from atoll.installer.answers import documents
from atoll.lint.explain import describe_lint, explain_lint
from atoll.lint.run import find_lint
from atoll.recipe.language import parse, reference
from atoll.recipe.language.explain import (
    ExplainTopic,
    KeySetting,
    find_inactive_settings,
    find_settings,
    find_topic,
)
from atoll.recipe.language.schema import FRAGMENTS, TOP, each_table, format_heading
from atoll.recipe.language.schema_model import KeyRule, TableRule

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from atoll.base.report import Reporter

_WIDEST = 60
"""Longer values are cut to this many characters; ``--json`` has them whole."""


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    if arguments.markdown or arguments.json_schema or arguments.answers:
        language = documents if arguments.answers else reference
        schema = arguments.json_schema
        print(language.format_json_schema() if schema else language.format_markdown(), end="")
        return 0
    if arguments.key is None:
        _print_tables(as_json=arguments.json)
        reporter.notice("next: atoll explain KEY")
        return 0

    found_errors = _find_errors(arguments.key)
    if found_errors:
        _print_errors(found_errors, as_json=arguments.json)
        return 0
    lint = find_lint(arguments.key)
    if lint is not None:
        print(json.dumps(describe_lint(lint)) if arguments.json else explain_lint(lint))
        return 0
    subject = find_topic(arguments.key)
    found = _find(subject, arguments.recipe, arguments.variant)
    if arguments.json:
        print(json.dumps(_as_json(subject, found), indent=2, ensure_ascii=False))
    else:
        print("\n".join(_lines(subject, found)))
    return 0


class KeyUses(NamedTuple):
    """Where a key is set in the chosen variant, and where in other variants or conditions."""

    here: tuple[KeySetting, ...]
    elsewhere: tuple[KeySetting, ...]


def _find(subject: ExplainTopic, recipe: str | None, variant: str | None) -> KeyUses | None:
    """Where the key is set; None for a table, and without a recipe. Raises RecipeError,
    UsageError."""
    if not isinstance(subject.rule, KeyRule):
        return None
    path = Path(recipe or ".")
    if recipe is None and not parse.find_file(path).is_file():
        if variant is not None:
            hint = "atoll explain KEY RECIPE --variant NAME"
            raise UsageError("--variant needs a recipe", hint=hint)
        return None
    loaded = parse.read_fragments(path)
    if not loaded.readable:
        raise loaded.problems.in_order()[0]
    parse.check_variant_exists(loaded, variant)
    here = find_settings(loaded.merged(variant, parse.find_architecture()), subject.path)
    return KeyUses(here, find_inactive_settings(loaded, subject.path, here))


def _print_tables(*, as_json: bool) -> None:
    tables = [(format_heading(path, table), table.doc) for path, table in each_table()]
    tables += [("[variant.NAME]", FRAGMENTS["variant"]), ('[when."CONDITION"]', FRAGMENTS["when"])]
    keys = [(key.name, key.doc) for key in TOP.keys]
    if as_json:
        print(json.dumps({"keys": dict(keys), "tables": dict(tables)}, indent=2))
        return
    for name, doc in (*keys, *tables):
        print(f"{name:<18} {textwrap.shorten(_first_sentence(doc), 61, placeholder=' …')}")


def _lines(subject: ExplainTopic, found: KeyUses | None) -> Iterable[str]:
    rule = subject.rule
    if isinstance(rule, TableRule):
        yield from textwrap.wrap(f"{format_heading(subject.path, rule)}: {rule.doc}", 80)
        for key in rule.keys:
            yield f"  {f'{subject.path}.{key.name}':<24} {_first_sentence(key.doc)}"
        for table in rule.tables:
            inner = f"{subject.path}.{table.name}" if rule.tables is not TOP.tables else table.name
            yield f"  {inner:<24} {_first_sentence(table.doc)}"
        return
    yield f"{subject.path}: {rule.kind}"
    yield from textwrap.wrap(rule.doc, 80, initial_indent="  ", subsequent_indent="  ")
    if rule.choices:
        yield f"  one of:    {', '.join(rule.choices)}"
    yield f"  example:   {rule.name} = {rule.example}"
    yield f"  default:   {reference.format_default(rule)}"
    if found is None:
        return
    yield ""
    yield "set here:" if found.here else "not set in this recipe"
    yield from _setting_lines(found.here)
    if found.elsewhere:
        yield "set in other variants or for other machines:"
        yield from _setting_lines(found.elsewhere)


def _setting_lines(settings: tuple[KeySetting, ...]) -> Iterable[str]:
    wide = max((len(_value(setting)) for setting in settings), default=0)
    for setting in settings:
        yield one_line(f"  {_value(setting):<{wide}}  {_location(setting)}")


def _value(setting: KeySetting) -> str:
    value = json.dumps(setting.value, ensure_ascii=False)
    value = value if len(value) <= _WIDEST else f"{value[:_WIDEST]}…"
    name = f"{json.dumps(setting.name, ensure_ascii=False)} = " if setting.name else ""
    row = f"{' '.join(setting.row)}: " if setting.row else ""
    return f"{row}{name}{value}"


def _location(setting: KeySetting) -> str:
    location = setting.file if setting.line is None else f"{setting.file}:{setting.line}"
    if setting.variant is not None:
        location += f", variant {setting.variant}"
    if setting.condition is not None:
        location += f", when {setting.condition}"
    return location if setting.effective else f"{location} (overridden by a later one)"


def _first_sentence(doc: str) -> str:
    return doc.partition(". ")[0].partition("; ")[0].removesuffix(".")


def _as_json(subject: ExplainTopic, found: KeyUses | None) -> dict[str, object]:
    rule = subject.rule
    if isinstance(rule, TableRule):
        return {"table": subject.path, "doc": rule.doc, "keys": list(rule.names)}
    return {
        "key": subject.path,
        "type": str(rule.kind),
        "doc": rule.doc,
        "example": rule.example,
        "default": rule.default,
        "left_out": reference.format_default(rule),
        "choices": list(rule.choices),
        "set": None if found is None else [_setting_as_json(each) for each in found.here],
        "elsewhere": [_setting_as_json(each) for each in found.elsewhere] if found else [],
    }


def _setting_as_json(setting: KeySetting) -> dict[str, object]:
    return {
        "value": setting.value,
        "file": setting.file,
        "line": setting.line,
        "variant": setting.variant,
        "condition": setting.condition,
        "row": list(setting.row),
        "name": setting.name or None,
        "holds": setting.effective,
    }


class ErrorHelp(NamedTuple):
    name: str | None
    code: int
    doc: str


_CODES_WITHOUT_CLASS = (
    ErrorHelp(None, 0, "Success."),
    ErrorHelp(None, UNEXPECTED, "A bug in Atoll; ATOLL_DEBUG=1 shows where."),
    ErrorHelp(None, BROKEN_PIPE, "The reader of the output closed it (broken pipe)."),
)


def _find_errors(word: str) -> tuple[ErrorHelp, ...]:
    """The errors with that name or exit code; empty for any other word. Raises UsageError for a
    number that is no exit code of Atoll."""
    known = (*_error_classes(), *_CODES_WITHOUT_CLASS)
    if word.isdecimal():
        found = tuple(each for each in known if str(each.code) == word)
        if not found:
            codes = ", ".join(str(code) for code in sorted({each.code for each in known}))
            raise errors.UsageError(f"Atoll has no exit code {word}", hint=f"exit codes: {codes}")
        return found
    return tuple(each for each in known if each.name and each.name.lower() == word.lower())


def _print_errors(found: Sequence[ErrorHelp], *, as_json: bool) -> None:
    if as_json:
        listed = [{"name": each.name, "exit_code": each.code, "doc": each.doc} for each in found]
        print(json.dumps({"errors": listed}, indent=2))
        return
    for each in found:
        print(
            f"{each.name or 'exit code'}{':' if each.name else ''} "
            f"{f'exit code {each.code}' if each.name else each.code}"
        )
        for line in each.doc.splitlines():
            print(f"  {line}".rstrip())


def _error_classes() -> tuple[ErrorHelp, ...]:
    kinds = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.AtollError)
    ]
    kinds.sort(key=lambda kind: kind.exit_code)
    return tuple(
        ErrorHelp(kind.__name__, kind.exit_code, inspect.getdoc(kind) or "") for kind in kinds
    )
