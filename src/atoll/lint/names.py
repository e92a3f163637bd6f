"""The names in a recipe: packages as apt writes them, local files, where else they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.suggest import find_nearest
from atoll.debian.atoll_package import PACKAGES
from atoll.debian.resolve import parse_requirement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atoll.lint.model import ArchiveFacts
    from atoll.recipe.model import LocalReference, Recipe


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
    return tuple(sorted({parse_requirement(word).name for word in words}))


def local_files(recipe: Recipe) -> tuple[LocalReference, ...]:
    """The local files that lints look at: the parser has looked at the recipe of ``from``."""
    return tuple(each for each in recipe.local_files if each.key != "from")


def word_fits(text: str, lists: ArchiveFacts) -> bool:
    """Whether apt can do something with the word ``text``."""
    word = parse_requirement(text)
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
