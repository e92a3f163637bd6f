"""``atoll check``: all that is wrong with a recipe, or that nothing is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import RecipeError
from atoll.cli.failure import tell_error
from atoll.recipe.parse import read_problems

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
    from atoll.recipe.model import Recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", nargs="?", default=".", help="a recipe, or the folder it is in")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    recipe, problems = read_problems(Path(arguments.recipe))
    if arguments.json:
        print(json.dumps({"problems": [_as_json(problem) for problem in problems]}, indent=2))
    for problem in problems:
        tell_error(problem)
    if recipe is None:
        return RecipeError.exit_code
    if not arguments.json:
        print(_summary(recipe))
    reporter.notice(f"next: atoll build {arguments.recipe}")
    return 0


def _summary(recipe: Recipe) -> str:
    count = len(recipe.packages.install) + len(recipe.packages.local)
    things = [
        f"{number} {thing if number == 1 else things}"
        for number, thing, things in (
            (count, "package", "packages"),
            (len(recipe.users), "user", "users"),
            (len(recipe.files), "file", "files"),
        )
        if number
    ]
    image = f"{recipe.image.name} {recipe.image.version}"
    return f"{recipe.file} is right: {image}, Debian {recipe.debian.suite}, {', '.join(things)}"


def _as_json(problem: RecipeError) -> dict[str, object]:
    return {
        "message": problem.message,
        "hint": problem.hint,
        "file": None if problem.file is None else str(problem.file),
        "line": problem.line,
        "key": problem.key,
    }
