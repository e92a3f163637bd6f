"""The names in a recipe: packages as apt writes them, local files, where else they come from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from atoll.base.suggest import find_nearest
from atoll.debian.atoll_package import PACKAGES
from atoll.recipe.model import RecipeBase

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from atoll.lint.model import ArchiveFacts
    from atoll.recipe.model import Recipe

_WORD = re.compile(r"([^:=/]+)(?::([^=/]+))?(?:=(.+)|/(.+))?")


class Word(NamedTuple):
    """``NAME[:ARCHITECTURE][=VERSION | /SUITE]``."""

    name: str
    architecture: str | None = None
    version: str | None = None
    suite: str | None = None


def parse_word(text: str) -> Word:
    found = _WORD.fullmatch(text)
    return Word(*found.groups()) if found else Word(text)


def wanted_packages(recipe: Recipe) -> tuple[str, ...]:
    """Words for everything that the recipe installs from repositories."""
    kernel = recipe.kernel.package
    words = (word for word in recipe.packages.install if word not in PACKAGES)
    return (*words, *((kernel,) if kernel else ()))


def package_names(recipe: Recipe) -> tuple[str, ...]:
    """Every name of a package in the recipe, without architecture, sorted."""
    packages = recipe.packages
    words = (
        *wanted_packages(recipe),
        *packages.remove,
        *dict(packages.versions),
        *dict(packages.sources),
    )
    return tuple(sorted({parse_word(word).name for word in words}))


def local_names(recipe: Recipe) -> tuple[str, ...]:
    """Every local file and directory that the recipe names, sorted."""
    return tuple(sorted({name for _, name in local_keys(recipe)}))


def local_keys(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """(key, name) of every local file and directory that the recipe names."""
    yield from (("packages.install", name) for name in recipe.packages.local)
    yield from (("repo.key", repo.key) for repo in recipe.repositories if repo.key)
    yield from (("file.source", file.source) for file in recipe.files if file.source is not None)
    for script in recipe.scripts:
        if script.source is not None:
            yield "script.source", script.source
        yield from (("script.inputs", name) for name in script.inputs)
    for check in recipe.health.checks:
        if check.source is not None:
            yield "health.check.source", check.source
    if isinstance(recipe.base, RecipeBase):
        yield "from", str(recipe.base.path)


def word_fits(text: str, lists: ArchiveFacts) -> bool:
    """Whether apt can do something with the word ``text``."""
    word = parse_word(text)
    if word.name in lists.virtual:
        return True
    offers = [offer for offer in lists.offers if offer.name == word.name]
    if word.version is not None:
        return any(offer.version == word.version for offer in offers)
    return bool(offers) and (word.suite is None or word.suite in lists.suites)


def near_names(name: str, names: Sequence[str]) -> tuple[str, ...]:
    """At most three of ``names`` that ``name`` was probably meant to be."""
    return find_nearest(name, names, most=3)


def merged(path: str) -> str:
    """``path`` without the links that lead from / into /usr."""
    if path.startswith(("/bin/", "/sbin/", "/lib/", "/lib64/")):
        return f"/usr{path}"
    return path
