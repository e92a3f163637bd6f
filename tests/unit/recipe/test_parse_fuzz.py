"""Documents generated from the schema, valid or not, give a Recipe or RecipeErrors only."""

from __future__ import annotations

import json
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.base.errors import RecipeError
from atoll.recipe.language.line_numbers import find_lines
from atoll.recipe.language.parse import parse_problems, read_problems
from atoll.recipe.language.schema import FRAGMENT, TOP
from atoll.recipe.language.schema_model import KeyRule, TableRule, ValueKind

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parents[2] / "golden" / "recipes"
EXAMPLES = settings().max_examples
"""As many as the profile says; what takes more than a second for them has a part of it."""
TEXTS = [path.read_bytes() for path in sorted(GOLDEN.glob("*.toml"))]

ANYTHING = st.recursive(
    st.booleans() | st.integers(-2, 70000) | st.floats() | st.text(max_size=6) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
TEXT = st.text(max_size=12) | st.sampled_from(
    [
        "",
        ".",
        "..",
        "/",
        "./a",
        "../a",
        "/var/x",
        "a",
        "a=1",
        "a/b",
        "-a",
        "\x00",
        "é",
        "ssh.service",
    ]
)


def value_of(rule: KeyRule) -> st.SearchStrategy[object]:
    """Mostly valid values; also texts that may be valid, and sometimes other types."""
    example = tomllib.loads(f"v = {rule.example}")["v"]
    right: st.SearchStrategy[object] = st.just(example)
    alike: st.SearchStrategy[object]
    match rule.kind:
        case ValueKind.TEXT:
            alike = TEXT | st.sampled_from(rule.choices or ("a",))
        case ValueKind.TEXTS:
            items = st.sampled_from(example)
            alike = st.lists(items | TEXT, max_size=3)
        case ValueKind.MAP:
            names = st.sampled_from(list(example))
            alike = st.dictionaries(names | TEXT, st.sampled_from(["local", "1"]) | TEXT)
        case _:
            alike = st.one_of(st.integers(-1, 70000), st.booleans())
    return st.one_of(right, right, right, alike, alike, ANYTHING)


@st.composite
def tables(draw: st.DrawFn, rule: TableRule, *, sparse: int = 3) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key in rule.keys:
        if key.required or key.name == rule.row or not draw(st.integers(0, sparse)):
            table[key.name] = draw(value_of(key))
    for inner in rule.tables:
        if not draw(st.integers(0, sparse)):
            one = tables(inner, sparse=1)
            table[inner.name] = draw(st.lists(one, max_size=3) if inner.row else one)
    if not draw(st.integers(0, 9)):
        table[draw(st.text(max_size=5))] = draw(ANYTHING)
    return table


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    document = draw(tables(TOP))
    document.setdefault("image", {"name": "a", "version": "1"})
    document.setdefault("packages", {"install": ["systemd-sysv"]})
    for kind, names in (
        ("variant", st.sampled_from(["kde", "b"]) | TEXT),
        ("when", st.sampled_from(["variant=kde", "suite=trixie", "architecture=amd64"]) | TEXT),
    ):
        if draw(st.booleans()):
            document[kind] = draw(st.dictionaries(names, tables(FRAGMENT, sparse=5), max_size=2))
    return document


def toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case list():
            return f"[{', '.join(map(toml, value))}]"
        case dict():
            return f"{{{', '.join(f'{toml(k)} = {toml(v)}' for k, v in value.items())}}}"
        case str():
            return (
                json.dumps(value).replace("\x7f", "\\u007f")
                if value.isascii()
                else ('"' + "".join(f"\\U{ord(letter):08x}" for letter in value) + '"')
            )
    return str(value)


def document_text(document: dict[str, Any]) -> str:
    return "".join(f"{toml(name)} = {toml(value)}\n" for name, value in document.items())


def check(text: str, file: str, load: Callable[[str], str] | None) -> None:
    recipe, problems = parse_problems(text, file=file, load=load)
    assert (recipe is None) == bool(problems)
    for problem in problems:
        assert type(problem) is RecipeError
        assert problem.message.startswith(str(problem.file))
        assert problem.line is None or problem.line >= 1
    if recipe is not None:
        hash(recipe)
        for variant in recipe.variants:
            chosen, problems = parse_problems(text, file=file, load=load, variant=variant)
            assert not problems
            assert chosen is not None
            assert chosen.variant == variant


@settings(max_examples=EXAMPLES // 2)
@given(documents())
def test_documents_grown_from_the_schema(document: dict[str, Any]) -> None:
    check(document_text(document), "x/atoll.toml", lambda _: "schema = 1\n")


@settings(max_examples=EXAMPLES // 4)
@given(documents(), st.text(max_size=20) | documents().map(document_text))
def test_whatever_is_included(document: dict[str, Any], other: str) -> None:
    text = document_text({**document, "include": ["./a/other.toml", "../b.toml"]})
    check(text, "atoll.toml", lambda name: other if "other" in name else text)


@given(
    st.sampled_from(TEXTS),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 9), st.binary(max_size=5)), max_size=3),
)
def test_mutated_bytes(text: bytes, cuts: list[tuple[int, int, bytes]]) -> None:
    for start, length, new in cuts:
        text = text[:start] + new + text[start + length :]
    only_recipe_errors(text)


@given(st.binary(max_size=60))
def test_raw_bytes(content: bytes) -> None:
    only_recipe_errors(content)
    only_recipe_errors(b"schema = 1\n" + content)


def only_recipe_errors(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "atoll.toml")
        file.write_bytes(content)
        recipe, problems = read_problems(file)
    assert (recipe is None) == bool(problems)
    assert all(type(problem) is RecipeError for problem in problems)


@settings(max_examples=EXAMPLES // 4)
@given(documents())
def test_the_line_of_every_key_is_known(document: dict[str, Any]) -> None:
    """``toml`` writes each top-level key on its own line."""
    lines = find_lines(document_text(document))
    for number, name in enumerate(document, start=1):
        assert lines[(name,)] == number
