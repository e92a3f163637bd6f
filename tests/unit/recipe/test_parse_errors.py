"""Every kind of invalid recipe, with its exact message."""

from __future__ import annotations

from pathlib import Path

import pytest

from atoll.base.errors import NotFound, RecipeError
from atoll.recipe.language.parse import parse_recipe, read_problems, read_recipe

GOLDEN = Path(__file__).parents[2] / "golden" / "recipes"
CASES = sorted(path.stem for path in GOLDEN.glob("*.toml"))


def told(problems: tuple[RecipeError, ...]) -> str:
    lines = []
    for problem in problems:
        lines.append(problem.message)
        if problem.hint:
            lines.append(f"  {problem.hint}")
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("name", CASES)
def test_wrong_recipe_is_told_in_these_words(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    recipe, problems = read_problems(Path(f"{name}.toml"))
    assert recipe is None
    assert told(problems) == (GOLDEN / f"{name}.error").read_text()


def test_there_are_cases_for_all_of_the_language() -> None:
    assert len(CASES) >= 100
    assert {path.stem for path in GOLDEN.glob("*.error")} == set(CASES)


def test_the_first_problem_is_what_is_raised() -> None:
    with pytest.raises(RecipeError) as caught:
        read_recipe(GOLDEN / "many-problems.toml")
    assert caught.value.line == 2
    assert caught.value.key == "from"
    with pytest.raises(RecipeError, match=r"^x\.toml: "):
        parse_recipe("", file="x.toml")


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"atoll\.toml"):
        read_recipe(tmp_path)
    with pytest.raises(NotFound, match=r"gone\.toml"):
        read_recipe(tmp_path / "gone.toml")


def test_a_recipe_that_is_too_large(tmp_path: Path) -> None:
    file = tmp_path / "atoll.toml"
    with file.open("wb") as stream:
        stream.truncate(17 * 1024 * 1024)
    with pytest.raises(RecipeError, match="too large"):
        read_recipe(tmp_path)
