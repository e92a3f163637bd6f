"""The package requirements of a recipe: what to install, from which sources, and their digest."""

from __future__ import annotations

import hashlib
import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, PackageError, RecipeError
from atoll.debian.atoll_package import SYSTEM, TOOL, find_system_beside, is_own
from atoll.debian.deb import read_control
from atoll.debian.install import check_local
from atoll.debian.resolve import LocalDeb, PackageRequirements, parse_requirement
from atoll.debian.sources import AptSource, read_architecture, read_default_sources
from atoll.debian.stanza import parse_stanza
from atoll.host.fs import digest_file
from atoll.lock.own_packages import own_names
from atoll.recipe.model import DebianBase, EmptyBase, ImageBase, RecipeBase

if TYPE_CHECKING:
    from atoll.recipe.model import Recipe, Repository

SNAPSHOT = "{snapshot}"
_ROLLING = re.compile(r"sid|unstable|experimental|rc-buggy")
_LOW = 100
"""apt pin priority of a suite that is used only for single packages."""
_SECURITY = "-security"
_UPDATES = "-updates"
_HALF_DAY = 12 * 3600


def package_requirements(recipe: Recipe) -> PackageRequirements:
    """Collect the package requirements of a recipe.

    Raises NotFound or PackageError for a local file.
    """
    packages = recipe.packages
    kernel = (recipe.kernel.package,) if recipe.kernel.package else ()
    local = read_local(recipe)
    return PackageRequirements(
        base=isinstance(recipe.base, DebianBase),
        install=tuple(dict.fromkeys((*packages.install, *kernel))),
        remove=packages.remove,
        local=local,
        own=own_names(recipe, (deb.stanza.name for deb in local)),
        versions=packages.versions,
        sources=packages.sources,
        recommends=packages.recommends,
    )


def read_local(recipe: Recipe) -> tuple[LocalDeb, ...]:
    """The recipe's local .deb files.

    The file of ``atoll`` implies that of ``atoll-system`` beside it, so that recipes from before
    the split into two packages keep working.
    """
    found = [_read_deb(recipe, name) for name in recipe.packages.local]
    if SYSTEM not in {deb.stanza.name for deb in found}:
        for deb in [deb for deb in found if deb.stanza.name == TOOL]:
            sibling = find_system_beside(deb.path)
            if sibling is not None:
                found.append(_read_deb(recipe, os.fspath(Path(deb.name).with_name(sibling.name))))
    return tuple(found)


def _read_deb(recipe: Recipe, name: str) -> LocalDeb:
    path = recipe.resolve(name)
    check_local(path)
    try:
        stanza = parse_stanza(read_control(path))
    except Damaged as error:
        raise PackageError(error.message, hint="name a file that dpkg-deb made") from error
    return LocalDeb(name=name, path=path, sha256=digest_file(path), stanza=stanza)


def format_requirements(recipe: Recipe, requirements: PackageRequirements) -> tuple[str, ...]:
    """Everything in the recipe that decides packages, one fact per line, in a stable order.

    Mirrors are not included: another mirror of the same archive has the same packages. Nor are the
    contents of Atoll's own packages: a lock pins them, and remains valid for every Atoll.
    """
    debian = recipe.debian
    lines = [
        f"base {name_base(recipe)} {debian.suite}",
        f"components {' '.join(debian.components or ('main',))}",
        *(f"architecture {name}" for name in sorted(debian.architectures)),
        *((f"snapshot {debian.snapshot}",) if debian.snapshot else ()),
        *(("without security",) if not debian.security else ()),
        *(("without updates",) if not debian.updates else ()),
        *(
            f"repository {one.name} {one.uris} {one.suites} {one.components} {one.architectures} "
            f"{one.priority}"
            for one in recipe.repositories
        ),
        *(f"install {word}" for word in sorted(requirements.install)),
        *(f"local {one.name} {one.sha256}" for one in requirements.local if not is_own(one.name)),
        *(f"own {name}" for name in requirements.own),
        *(f"remove {word}" for word in sorted(requirements.remove)),
        *(f"version {name} {version}" for name, version in sorted(requirements.versions)),
        *(f"source {name} {origin}" for name, origin in sorted(requirements.sources)),
        *(("with recommends",) if requirements.recommends else ()),
    ]
    return tuple(lines)


def name_base(recipe: Recipe) -> str:
    """The name of a recipe's base in a lock; paths are relative to the recipe's folder."""
    match recipe.base:
        case ImageBase(reference=reference):
            return reference
        case RecipeBase(path=path, variant=variant):
            name = os.path.relpath(path, Path(recipe.file).absolute().parent)
            return f"{name}#{variant}" if variant else name
        case EmptyBase():
            return "empty"
        case DebianBase(suite=suite):
            return f"debian:{suite}"


def digest_requirements(recipe: Recipe, requirements: PackageRequirements) -> str:
    """SHA-256 (64 hex digits) of ``format_requirements``."""
    return hashlib.sha256("\n".join(format_requirements(recipe, requirements)).encode()).hexdigest()


def architectures(recipe: Recipe) -> tuple[str, ...]:
    """The native architecture, then the foreign ones of the recipe."""
    native = read_architecture()
    return (native, *(one for one in recipe.debian.architectures if one != native))


def find_sources(recipe: Recipe, cache: Path) -> tuple[AptSource, ...]:
    """All sources of packages, that of the recipe's suite first. Raises RecipeError."""
    repositories = tuple(one for repo in recipe.repositories for one in _repository(recipe, repo))
    if recipe.debian.suite is None:
        return repositories
    return (*_debian(recipe, cache), *repositories)


def _debian(recipe: Recipe, cache: Path) -> tuple[AptSource, ...]:
    """The suite, its updates and security, and suites from which single packages are taken."""
    debian = recipe.debian
    suite = debian.suite or ""
    components = debian.components or ("main",)
    if debian.mirror is None:
        found = read_default_sources(suite, components, read_architecture(), cache)
    else:
        found = (
            AptSource(
                name=suite,
                uri=resolve_uri(recipe, debian.mirror),
                suite=suite,
                components=components,
                dated=_dated(recipe, debian.mirror),
            ),
        )
        if not _ROLLING.fullmatch(suite):
            found += (replace(found[0], name=suite + _UPDATES, suite=suite + _UPDATES),)
    if debian.mirror is not None or debian.security_mirror is not None:
        found = (
            *(one for one in found if not one.suite.endswith(_SECURITY)),
            *_security(recipe, components, cache),
        )
    kept = [
        one
        for one in found
        if (debian.updates or one.suite != suite + _UPDATES)
        and (debian.security or not one.suite.endswith(_SECURITY))
    ]
    known = {one.suite for one in kept}
    known |= {name for repo in recipe.repositories for name in (repo.name, *repo.suites)}
    extra = [name for name in _named_suites(recipe) if name not in known]
    main = kept[0]
    return (*kept, *(replace(main, name=name, suite=name, priority=_LOW) for name in extra))


def _security(recipe: Recipe, components: tuple[str, ...], cache: Path) -> tuple[AptSource, ...]:
    """SUITE-security from its mirror in the recipe, or by default from this machine's."""
    debian = recipe.debian
    suite = debian.suite or ""
    if not debian.security or _ROLLING.fullmatch(suite):
        return ()
    name = suite + _SECURITY
    if debian.security_mirror is None:
        default = read_default_sources(suite, components, read_architecture(), cache)
        return tuple(one for one in default if one.suite == name)
    mirror = debian.security_mirror
    return (
        AptSource(
            name=name,
            uri=resolve_uri(recipe, mirror),
            suite=name,
            components=components,
            dated=_dated(recipe, mirror),
        ),
    )


def _named_suites(recipe: Recipe) -> list[str]:
    """Suites that packages are taken from, by ``NAME/SUITE`` or by packages.sources."""
    arguments = [*recipe.packages.install, recipe.kernel.package or ""]
    named = [parse_requirement(word).suite for word in arguments]
    named += [origin for _, origin in recipe.packages.sources]
    return sorted({name for name in named if name})


def _repository(recipe: Recipe, repo: Repository) -> list[AptSource]:
    key = recipe.resolve(repo.key).absolute() if repo.key else None
    if key is not None and not key.is_file():
        raise RecipeError(
            f"{repo.key}: no such file",
            file=recipe.file,
            key="repo.key",
            hint="names are relative to the recipe's folder",
        )
    pairs = [(uri, suite) for uri in repo.uris for suite in repo.suites]
    return [
        AptSource(
            name=repo.name if len(pairs) == 1 else f"{repo.name}-{number}",
            uri=resolve_uri(recipe, uri),
            suite=suite,
            components=() if suite.endswith("/") else repo.components or ("main",),
            architectures=repo.architectures,
            key=key,
            priority=repo.priority,
            dated=_dated(recipe, uri),
            repository=repo.name,
        )
        for number, (uri, suite) in enumerate(pairs, start=1)
    ]


def resolve_uri(recipe: Recipe, uri: str, at: int | None = None) -> str:
    """Replace ``{snapshot}`` by the recipe's snapshot, else by the time ``at`` (seconds) or now."""
    stamp = recipe.debian.snapshot or format_time(int(time.time()) if at is None else at)
    return uri.replace(SNAPSHOT, stamp).rstrip("/")


def format_time(seconds: int) -> str:
    """A time (seconds since 1970) as snapshot services write it: ``20260820T000000Z``."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))


def _dated(recipe: Recipe, uri: str) -> bool:
    """Whether an expired Release file is acceptable: only if the recipe asks for a past time."""
    return SNAPSHOT in uri and recipe.debian.snapshot is not None


def snapshot_uris(recipe: Recipe, at: int) -> dict[str, tuple[str, ...]]:
    """Snapshot URIs of archives by name, for the state at ``at`` (seconds since 1970).

    A service takes a snapshot of an archive some time after the archive changed, so later times
    follow the first: packages stay in an archive longer than in its lists.
    """
    debian = recipe.debian
    found: dict[str, tuple[str, ...]] = {}
    suite = debian.suite or ""
    if debian.mirror and SNAPSHOT in debian.mirror:
        names = [suite, suite + _UPDATES, *_named_suites(recipe)]
        found |= dict.fromkeys(names, _uris_around(recipe, debian.mirror, at))
    if debian.security_mirror and SNAPSHOT in debian.security_mirror:
        found[suite + _SECURITY] = _uris_around(recipe, debian.security_mirror, at)
    for repo in recipe.repositories:
        pattern = next((uri for uri in repo.uris if SNAPSHOT in uri), None)
        if pattern is not None:
            names = [source.name for source in _repository(recipe, repo)]
            found |= dict.fromkeys(names, _uris_around(recipe, pattern, at))
    return found


def _uris_around(recipe: Recipe, pattern: str, at: int) -> tuple[str, ...]:
    times = (at, at + _HALF_DAY, at + 3 * _HALF_DAY)
    return tuple(dict.fromkeys(resolve_uri(recipe, pattern, time) for time in times))
