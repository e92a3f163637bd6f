"""Generate documents of the recipe language: Markdown for people, a JSON Schema for editors. Pure.

Both are generated from the schema and kept in docs/reference; tests fail if they are out of date.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from atoll.recipe.language.schema import FRAGMENT, FRAGMENTS, TOP, each_table, format_heading
from atoll.recipe.language.schema_model import KeyRule, TableRule, ValueKind

if TYPE_CHECKING:
    from collections.abc import Iterator

_JSON_TYPES = {
    ValueKind.TEXT: "string",
    ValueKind.NUMBER: "integer",
    ValueKind.BOOLEAN: "boolean",
    ValueKind.TEXTS: "array",
    ValueKind.MAP: "object",
}


def format_default(key: KeyRule) -> str:
    """The value if the key is omitted, in a few words."""
    if key.default_text:
        return key.default_text
    if key.required:
        return "an error"
    if key.default is None:
        return "none" if key.kind in (ValueKind.TEXTS, ValueKind.MAP) else "not set"
    return json.dumps(key.default)


def format_markdown() -> str:
    """All tables and keys, as in docs/reference/recipe.md."""
    lines = ["## At the top of a file", "", *markdown_keys(TOP)]
    for name, doc in FRAGMENTS.items():
        heading = f"[{name}.NAME]" if name == "variant" else f'[{name}."CONDITION"]'
        lines += ["", f"## `{heading}`", "", mark_code(doc)]
    for path, table in each_table():
        lines += ["", f"## `{format_heading(path, table)}`", "", mark_code(table.doc)]
        lines += ["", *markdown_keys(table)]
    return "".join(f"{line}\n" for line in lines)


def markdown_keys(table: TableRule) -> Iterator[str]:
    """Yield the lines of a Markdown table of the keys of ``table``."""
    yield "| key | what it is | value | left out |"
    yield "|---|---|---|---|"
    for key in table.keys:
        value = f"{key.kind}, such as `{key.example}`"
        if key.choices:
            value = " ".join(f"`{choice}`" for choice in key.choices)
            value = f"{key.kind} of {value}" if key.kind is ValueKind.MAP else value
        cells = (f"`{key.name}`", mark_code(key.doc), value, mark_code(format_default(key)))
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def mark_code(text: str) -> str:
    """Mark parts of ``text`` that look like code."""
    return re.sub(r'\[\[?[a-z][a-zA-Z".=\w]*\]\]?|\{\w+\}|"[^"]*"', r"`\g<0>`", text)


def format_json_schema() -> str:
    """A JSON Schema (draft 2020-12), with which editors complete and check recipes."""
    fragments = {
        name: {
            "type": "object",
            "description": doc,
            "additionalProperties": {"$ref": "#/$defs/fragment"},
        }
        for name, doc in FRAGMENTS.items()
    }
    document: dict[str, object] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A recipe of Atoll",
        **json_table(TOP, refer=True),
        "$defs": {
            "fragment": json_table(FRAGMENT, refer=True),
            **{table.name: json_table(table) for table in TOP.tables},
        },
    }
    properties = document["properties"]
    assert isinstance(properties, dict)
    properties |= fragments
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def json_table(table: TableRule, *, refer: bool = False) -> dict[str, object]:
    """The schema of a table; with ``refer``, inner tables are references to ``$defs``.

    Only the key that identifies a row is required: another file may set what this one omits.
    """
    inner = {key.name: _json_key(key) for key in table.keys}
    for child in table.tables:
        value = _json_reference(child) if refer else json_table(child)
        inner[child.name] = {"type": "array", "items": value} if child.row else value
    schema: dict[str, object] = {"type": "object", "additionalProperties": False}
    if table.doc:
        schema["description"] = table.doc
    if table.row:
        schema["required"] = [table.row]
    return {**schema, "properties": inner}


def _json_reference(table: TableRule) -> dict[str, object]:
    return {"$ref": f"#/$defs/{table.name}"}


def _json_key(key: KeyRule) -> dict[str, object]:
    texts: dict[str, object] = {"type": "string"}
    if key.choices:
        texts["enum"] = list(key.choices)
    schema: dict[str, object] = {"description": key.doc, "type": _JSON_TYPES[key.kind]}
    match key.kind:
        case ValueKind.TEXTS:
            schema["items"] = texts
        case ValueKind.MAP:
            schema["additionalProperties"] = texts
        case ValueKind.TEXT:
            schema |= texts
        case ValueKind.NUMBER:
            limits = {"minimum": key.least, "maximum": key.most}
            schema.update((name, limit) for name, limit in limits.items() if limit is not None)
    if key.default is not None:
        schema["default"] = key.default
    return schema
