"""Parse TOML into a ``Recipe``: the entry point of the language (docs/reference/recipe.md).

A text and its includes are read (``includes``) and checked against the schema (``parse_tables``).
The fragments that apply are merged (``merge``), and the result is converted (``convert``). All
problems are found in one pass, also those of variants that are not chosen.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound, RecipeError, UsageError
from atoll.base.fields import Flaw, suggest
from atoll.host.fs import find_near_path
from atoll.recipe.language.convert import convert_recipe
from atoll.recipe.language.includes import LoadedRecipe, load_fragments
from atoll.recipe.language.local_files import find_local_files
from atoll.recipe.model import MachineRecipe, RecipeBase

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from atoll.recipe.language.includes import Load
    from atoll.recipe.language.parse_tables import Checked
    from atoll.recipe.model import Recipe

FILE_NAME = "atoll.toml"
_MOST_NAMED = 4
_LARGEST = 16 * 1024 * 1024
_SOME_IMAGE = "store:image"
"""The base of a machine file where it does not matter which one it is."""
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
    """Parse a recipe; raises the first problem. Parameters are those of ``parse_problems``."""
    recipe, problems = parse_problems(
        text, file=file, variant=variant, architecture=architecture, load=load
    )
    if recipe is None:
        raise problems[0]
    return recipe


def read_recipe(path: Path, variant: str | None = None) -> Recipe:
    """Read the recipe in a file, or in the ``atoll.toml`` of a directory; checks its local files.

    Raises RecipeError, NotFound, or UsageError if it has no such variant.
    """
    recipe, problems = read_problems(path, variant)
    if recipe is None:
        raise problems[0]
    return recipe


def read_problems(
    path: Path, variant: str | None = None
) -> tuple[Recipe | None, tuple[RecipeError, ...]]:
    """The recipe, or else all its problems. Raises NotFound, or UsageError for the variant."""
    try:
        loaded = read_fragments(path)
    except RecipeError as error:
        return None, (error,)
    recipe, problems = _convert_variants(loaded, variant, find_architecture())
    if recipe is not None:
        problems = _missing_files(loaded, recipe)
    if recipe is not None and isinstance(recipe.base, RecipeBase):
        base = replace(recipe.base, path=find_file(recipe.base.path))
        recipe = replace(recipe, base=base)
    return (None if problems else recipe), problems


def parse_machine_recipe(
    text: str,
    *,
    file: str,
    base: str = "",
    load: Load | None = None,
    update: Mapping[str, str | int | bool] | None = None,
) -> MachineRecipe:
    """Parse a machine file: a recipe that need not say what it is made from, and that has name and
    version of its base unless it sets them.

    ``base`` is the reference of the image that the machine follows, ``update`` has the keys of
    ``[update]`` of that image's policy. Raises the first problem.
    """
    defaults: Checked = {
        "from": base or _SOME_IMAGE,
        "image": {"name": "", "version": ""},
        "update": dict(update or {}),
    }
    loaded = load_fragments(text, file=file, load=load, defaults=defaults)
    tables = frozenset(
        name for fragment in loaded.fragments[1:] for name in fragment.table if fragment.table[name]
    )
    recipe, problems = _convert_variants(loaded, None, find_architecture())
    if loaded.variants:
        at = loaded.top.below("variant")
        loaded.problems.add(
            at, Flaw("a machine file has no variants", "write what this machine is")
        )
        problems = loaded.problems.in_order()
    if recipe is None or problems:
        raise problems[0]
    return MachineRecipe(recipe=recipe, tables=tables)


def read_machine_recipe(path: Path, *, base: str = "") -> MachineRecipe:
    """Read a machine file with its includes; its local files must be there. Raises RecipeError or
    NotFound."""
    parsed = parse_machine_recipe(read_text(path), file=str(path), base=base, load=loader(path))
    for key, name, _ in parsed.recipe.local_files:
        local = parsed.recipe.resolve(name)
        if not (local.is_file() or (key == "script.inputs" and local.is_dir())):
            raise RecipeError(
                f"{name} is not there", file=path, key=key, hint=f"Atoll looked for it at: {local}"
            )
    return parsed


def read_fragments(path: Path) -> LoadedRecipe:
    """Read a recipe's file and all that it includes, valid or not.

    Raises NotFound or RecipeError if the file itself cannot be read.
    """
    file = find_file(path)
    return load_fragments(read_text(file), file=str(file), load=loader(file))


def parse_problems(
    text: str,
    *,
    file: str,
    variant: str | None = None,
    architecture: str | None = None,
    load: Load | None = None,
) -> tuple[Recipe | None, tuple[RecipeError, ...]]:
    """The recipe, or else all its problems, sorted by location.

    ``architecture`` is the one that conditions test, by default this machine's; ``load`` reads
    included files. Raises UsageError if there is no such variant.
    """
    loaded = load_fragments(text, file=file, load=load)
    return _convert_variants(loaded, variant, architecture or find_architecture())


def find_file(path: Path) -> Path:
    """The file of a recipe that is given by its file or folder."""
    return path / FILE_NAME if path.is_dir() else path


def find_architecture() -> str:
    """Debian's name for this machine's architecture."""
    machine = os.uname().machine
    return _MACHINES.get(machine, machine)


def loader(file: Path) -> Load:
    """A function that reads the includes of the recipe in ``file``."""

    def load(name: str) -> str:
        path = file.parent / name
        if not path.is_file():
            raise NotFound(f"{name} is not a file", hint=f"Atoll looked for it at: {path}")
        return read_text(path)

    return load


def check_variant_exists(loaded: LoadedRecipe, variant: str | None) -> None:
    """Raise UsageError, with the existing variants, if ``variant`` is not one of them."""
    if variant is None or variant in loaded.variants:
        return
    file = loaded.sources[0].file
    hint = suggest(variant, loaded.variants) if loaded.variants else "it has none"
    raise UsageError(f"{file} has no variant {variant!r}", hint=hint)


def _convert_variants(
    loaded: LoadedRecipe, variant: str | None, architecture: str
) -> tuple[Recipe | None, tuple[RecipeError, ...]]:
    """Convert all variants, since each must be valid, and return the chosen one."""
    found = None
    if loaded.readable:
        if not loaded.problems.found:
            check_variant_exists(loaded, variant)
        for each in (None, *loaded.variants):
            loaded.problems.variant = each
            recipe = convert_recipe(loaded.merged(each, architecture), loaded, each)
            found = recipe if each == variant else found
    problems = loaded.problems.in_order()
    return (None if problems else found), problems


def _missing_files(loaded: LoadedRecipe, recipe: Recipe) -> tuple[RecipeError, ...]:
    for variant in (None, *loaded.variants):
        loaded.problems.variant = variant
        for (key, name, _), location in find_local_files(
            loaded.merged(variant, find_architecture())
        ):
            path = recipe.resolve(name)
            if key == "from":
                path = find_file(path)
                if path.exists() and path.samefile(recipe.file):
                    loaded.problems.add(location, Flaw("is this recipe itself"))
            if path.is_file() or (key == "script.inputs" and path.is_dir()):
                continue
            what = "file or folder" if key == "script.inputs" else "file"
            flaw = Flaw(f"{name} is not a {what}", f"Atoll looked for it at: {path}")
            loaded.problems.add(location, flaw)
    return loaded.problems.in_order()


def read_text(file: Path) -> str:
    """Read a text file. Raises NotFound, or RecipeError if it is not text or cannot be read."""
    content = _read(file)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RecipeError("is not UTF-8 text", file=file, line=line) from None


def _not_found(file: Path) -> NotFound:
    nearest = find_near_path(file)
    if nearest is not None:
        return NotFound(f"there is no recipe {file}", hint=f"did you mean: {nearest}")
    if file.name == FILE_NAME:
        where = "here" if str(file.parent) == "." else f"in {file.parent}"
        found_below = sorted(file.parent.glob(f"*/{FILE_NAME}"))
        names = ", ".join(str(each.parent) for each in found_below[:_MOST_NAMED])
        hint = f"name one: {names}" if names else "name its folder, or begin one: atoll new DIR"
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
