"""Published recipes are valid, and pages generated from the schema are up to date."""

from __future__ import annotations

import re
from pathlib import Path

from atoll.recipe.language.parse import parse_problems, parse_recipe
from atoll.recipe.language.reference import format_json_schema, format_markdown

TOP = Path(__file__).parents[3]
PAGE = (TOP / "docs" / "reference" / "recipe.md").read_text()


def test_its_recipes_are_right() -> None:
    for text in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL):
        recipe, problems = parse_problems(text, file="recipe.md", load=lambda _: "schema = 1")
        assert not problems
        assert recipe is not None
        assert recipe.users


def test_the_examples_are_right() -> None:
    for file in TOP.glob("examples/*/atoll.toml"):
        parse_recipe(
            file.read_text(),
            file=str(file),
            load=lambda name, folder=file.parent: (folder / name).read_text(),  # type: ignore[misc]
        )


def test_the_page_is_current() -> None:
    assert PAGE.endswith(f"-->\n\n{format_markdown()}"), (
        "write the output of atoll explain --markdown below the mark in docs/reference/recipe.md"
    )


def test_the_schema_for_editors_is_current() -> None:
    file = TOP / "docs" / "reference" / "recipe.schema.json"
    assert file.read_text() == format_json_schema(), (
        "write the output of atoll explain --json-schema to docs/reference/recipe.schema.json"
    )
