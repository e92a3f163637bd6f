"""The reference of the answers file, made from its schema: Markdown, and a JSON Schema.

Both are kept in docs/reference; tests say when they are behind. Pure.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from atoll.installer.answers.schema import TOP
from atoll.recipe.language.reference import json_table, mark_code, markdown_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.recipe.language.schema_model import TableRule


def format_markdown() -> str:
    """Every table and key, as docs/reference/answers.md has them."""
    lines = ["## At the top of the file", "", *markdown_keys(TOP)]
    for path, table in _tables(TOP, ()):
        lines += ["", f"## `[{path}]`", "", mark_code(table.doc), "", *markdown_keys(table)]
    return "".join(f"{line}\n" for line in lines)


def format_json_schema() -> str:
    """A JSON Schema (draft 2020-12) that editors complete and check answers files with."""
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Answers for an unattended install of Atoll",
        **_with_required(TOP, json_table(TOP)),
        "required": ["schema", "user"],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _tables(rule: TableRule, path: tuple[str, ...]) -> Iterator[tuple[str, TableRule]]:
    for inner in rule.tables:
        below = (*path, inner.name)
        if inner.keys:
            yield ".".join(below), inner
        yield from _tables(inner, below)


def _with_required(rule: TableRule, schema: dict[str, object]) -> dict[str, object]:
    """One file says everything, so unlike in a recipe, what must be there can be said."""
    required = [key.name for key in rule.keys if key.required]
    properties = schema["properties"]
    assert isinstance(properties, dict)
    for inner in rule.tables:
        properties[inner.name] = _with_required(inner, properties[inner.name])
    return {**schema, **({"required": required} if required else {})}
