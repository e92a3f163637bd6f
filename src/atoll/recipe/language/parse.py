"""TOML to ``Recipe``: the way in. The language is in docs/reference/recipe.md.

A text and what it includes is gathered (``gather``) and checked against the schema
(``parse_tables``); the fragments that hold are merged (``merge``), and what comes out becomes a
Recipe (``fill``). All problems are found in one pass, also those of variants that nobody chose.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound, RecipeError, UsageError
from atoll.base.fields import Flaw, suggest
from atoll.host.fs import find_near_path
from atoll.recipe.language.convert import fill_recipe
from atoll.recipe.language.includes import LoadedRecipe, gather
from atoll.recipe.language.local_files import find_local_files
from atoll.recipe.model import RecipeBase

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.recipe.language.includes import Load
    from atoll.recipe.model import Recipe

FILE_NAME = "atoll.toml"
_MOST_NAMED = 4
_LARGEST = 16 * 1024 * 1024
_MACHINES = {
    "aarch64": "arm64",
    "armv7l": "armhf",
    "i686": "i386",
    "loongarch64": "loong64",
    "ppc64le": "ppc64el",
    "x86_64": "amd64",
}


def parse_recipe(
    text: str,
    *,
    file: str,
    variant: str | None = None,
    architecture: str | None = None,
    load: Load | None = None,
) -> Recipe:
    """``parse_problems`` for callers that need the recipe; raises the first problem."""
    recipe, problems = parse_problems(
        text, file=file, variant=variant, architecture=architecture, load=load
    )
    if recipe is None:
        raise problems[0]
    return recipe


def read_recipe(path: Path, variant: str | None = None) -> Recipe:
    """The recipe in a file, or in the ``atoll.toml`` of a directory; its local files are there.

    Raises RecipeError, NotFound, and UsageError when it has no such variant.
    """
    recipe, problems = read_problems(path, variant)
    if recipe is None:
        raise problems[0]
    return recipe


def read_problems(
    path: Path, variant: str | None = None
) -> tuple[Recipe | None, tuple[RecipeError, ...]]:
    """The recipe, or else every problem with it. Raises NotFound when there is none."""
    try:
        gathered = read_gathered(path)
    except RecipeError as error:
        return None, (error,)
    recipe, problems = _judge(gathered, variant, find_architecture())
    if recipe is not None:
        problems = _missing_files(gathered, recipe)
    if recipe is not None and isinstance(recipe.base, RecipeBase):
        base = replace(recipe.base, path=find_file(recipe.base.path))
        recipe = replace(recipe, base=base)
    return (None if problems else recipe), problems


def read_gathered(path: Path) -> LoadedRecipe:
    """A recipe's file and all that it includes, right or wrong.

    Raises NotFound and RecipeError when the file itself cannot be read.
    """
    file = find_file(path)
    return gather(read_text(file), file=str(file), load=loader(file))


def parse_problems(
    text: str,
    *,
    file: str,
    variant: str | None = None,
    architecture: str | None = None,
    load: Load | None = None,
) -> tuple[Recipe | None, tuple[RecipeError, ...]]:
    """The recipe, or else every problem with it, in the order of the text.

    ``architecture`` is what conditions ask for, this machine's where it is None; ``load`` reads
    included files.
    """
    gathered = gather(text, file=file, load=load)
    return _judge(gathered, variant, architecture or find_architecture())


def find_file(path: Path) -> Path:
    """The file of a recipe that is named by it or by its folder."""
    return path / FILE_NAME if path.is_dir() else path


def find_architecture() -> str:
    """Debian's name for what this machine is."""
    machine = os.uname().machine
    return _MACHINES.get(machine, machine)


def loader(file: Path) -> Load:
    """Reads what the recipe in ``file`` includes."""

    def load(name: str) -> str:
        place = file.parent / name
        if not place.is_file():
            raise NotFound(f"{name} is not a file", hint=f"Atoll looked for it at: {place}")
        return read_text(place)

    return load


def check_variant_exists(gathered: LoadedRecipe, variant: str | None) -> None:
    """Raises UsageError that names those that exist."""
    if variant is None or variant in gathered.variants:
        return
    file = gathered.sources[0].file
    hint = suggest(variant, gathered.variants) if gathered.variants else "it has none"
    raise UsageError(f"{file} has no variant {variant!r}", hint=hint)


def _judge(
    gathered: LoadedRecipe, variant: str | None, architecture: str
) -> tuple[Recipe | None, tuple[RecipeError, ...]]:
    """Fills in all variants, since every one of them must be right; gives the chosen one."""
    found = None
    if gathered.readable:
        if not gathered.problems.found:
            check_variant_exists(gathered, variant)
        for each in (None, *gathered.variants):
            gathered.problems.variant = each
            recipe = fill_recipe(gathered.merged(each, architecture), gathered, each)
            found = recipe if each == variant else found
    problems = gathered.problems.in_order()
    return (None if problems else found), problems


def _missing_files(gathered: LoadedRecipe, recipe: Recipe) -> tuple[RecipeError, ...]:
    for variant in (None, *gathered.variants):
        gathered.problems.variant = variant
        for (key, name, _), location in find_local_files(
            gathered.merged(variant, find_architecture())
        ):
            path = recipe.resolve(name)
            if key == "from":
                path = find_file(path)
                if path.exists() and path.samefile(recipe.file):
                    gathered.problems.add(location, Flaw("is this recipe itself"))
            if path.is_file() or (key == "script.inputs" and path.is_dir()):
                continue
            what = "file or folder" if key == "script.inputs" else "file"
            flaw = Flaw(f"{name} is not a {what}", f"Atoll looked for it at: {path}")
            gathered.problems.add(location, flaw)
    return gathered.problems.in_order()


def read_text(file: Path) -> str:
    """Raises NotFound, and RecipeError when it is no text."""
    content = _read(file)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RecipeError("is not UTF-8 text", file=file, line=line) from None


def _not_found(file: Path) -> NotFound:
    near = find_near_path(file)
    if near is not None:
        return NotFound(f"there is no recipe {file}", hint=f"did you mean: {near}")
    if file.name == FILE_NAME:
        where = "here" if str(file.parent) == "." else f"in {file.parent}"
        below = sorted(file.parent.glob(f"*/{FILE_NAME}"))
        others = ", ".join(str(each.parent) for each in below[:_MOST_NAMED])
        hint = f"name one: {others}" if others else "name its folder, or begin one: atoll new DIR"
        return NotFound(f"there is no recipe {where}: no file {FILE_NAME}", hint=hint)
    hint = f"a recipe is a file {FILE_NAME}, or its folder; to begin one: atoll new DIR"
    return NotFound(f"there is no recipe {file}", hint=hint)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
    except FileNotFoundError:
        raise _not_found(file) from None
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", file=file) from error
    if len(content) > _LARGEST:
        raise RecipeError("is too large for a recipe", file=file)
    return content
