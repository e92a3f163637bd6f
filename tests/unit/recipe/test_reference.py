"""The recipes that people read are right, and the reference page names every key there is."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from atoll.recipe.model import Debian, File, Image, Kernel, Packages, System, Units, User
from atoll.recipe.parse import parse_recipe

TOP = Path(__file__).parents[3]
PAGE = (TOP / "docs" / "reference" / "recipe.md").read_text()


def test_its_recipe_is_right() -> None:
    for text in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL):
        assert parse_recipe(text, file="recipe.md").users


def test_the_examples_are_right() -> None:
    for file in TOP.glob("examples/*/atoll.toml"):
        parse_recipe(file.read_text(), file=str(file))


def test_every_key_is_named() -> None:
    other_words = {"suite": "from", "local": "install", "password_hash": "password"}
    for kind in (Debian, File, Image, Kernel, Packages, System, Units, User):
        for field in dataclasses.fields(kind):
            name = other_words.get(field.name, field.name)
            assert re.search(rf"`(\[\w+\] )?{name}`", PAGE), f"{kind.__name__}.{name}"
