"""The names in a recipe: package requirements in apt's syntax, local files, merged-/usr paths."""

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
    """The requirements of everything that the recipe installs from repositories, as given."""
    kernel = recipe.kernel.package
    requirements = (each for each in recipe.packages.install if each not in PACKAGES)
    return (*requirements, *((kernel,) if kernel else ()))


def package_names(recipe: Recipe) -> tuple[str, ...]:
    """The names of all packages in the recipe, without architecture, sorted."""
    packages = recipe.packages
    requirements = (
        *wanted_packages(recipe),
        *packages.remove,
        *dict(packages.versions),
        *dict(packages.sources),
    )
    return tuple(sorted({parse_requirement(each).name for each in requirements}))


def local_files(recipe: Recipe) -> tuple[LocalReference, ...]:
    """The local files that lints check: all but the recipe in ``from``, which is already parsed."""
    return tuple(each for each in recipe.local_files if each.key != "from")


def is_available(text: str, lists: ArchiveFacts) -> bool:
    """Whether the package lists can satisfy the requirement ``text``."""
    requirement = parse_requirement(text)
    if requirement.name in lists.virtual:
        return True
    offers = [offer for offer in lists.offers if offer.name == requirement.name]
    if requirement.version is not None:
        return any(offer.version == requirement.version for offer in offers)
    return bool(offers) and (requirement.suite is None or requirement.suite in lists.suites)


def near_names(name: str, names: Sequence[str]) -> tuple[str, ...]:
    """At most three of ``names`` that ``name`` probably meant."""
    return find_nearest(name, names, most=3)


def merged(path: str) -> str:
    """``path`` with the links of merged /usr resolved: ``/bin/sh`` becomes ``/usr/bin/sh``."""
    if path.startswith(("/bin/", "/sbin/", "/lib/", "/lib64/")):
        return f"/usr{path}"
    return path
