"""``search``: packages in the lists of the last update, found by words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atoll.base.report import NullReporter
from atoll.builder.lock_command import opened_resolver
from atoll.debian.isolated_apt import refresh_lists
from atoll.debian.package_lists import opened_lists, release_path
from atoll.layering.change_machine import find_situation, forget_built
from atoll.layering.edit_machine_file import NEW
from atoll.layering.machine_tree import choose_base, machine_folder
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.state import read_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from atoll.base.report import Reporter
    from atoll.debian.isolated_apt import AptDirectory
    from atoll.machine.deployments.sysroot import Sysroot


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPackage:
    """``installed`` is the version that the system has, empty without."""

    name: str
    version: str
    suite: str
    description: str
    installed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """``updated`` is when the lists were downloaded, in seconds since 1970; None without lists."""

    packages: tuple[FoundPackage, ...]
    updated: int | None


def search_machine(
    sysroot: Sysroot, words: Sequence[str], reporter: Reporter, *, refresh: bool
) -> SearchResult:
    """Packages that the machine file may name, with all ``words`` in their name or description.
    Raises NetworkError with ``refresh``, and MissingPrivilege."""
    with locked_machine(sysroot, esp=False, published=False) as machine:
        here = find_situation(machine, read_state(machine))
        try:
            with machine_folder(here.live, here.text or NEW, machine.state) as folder:
                recipe, base = folder.read(here.base).recipe, choose_base(here.base)
                with opened_resolver(recipe, here.store, NullReporter(), None, base=base) as found:
                    apt = found.open_apt()
                    if refresh:
                        with reporter.step("Downloading package lists"):
                            refresh_lists(apt)
                    result = search_packages(apt, words)
        finally:
            forget_built(here.store)
    versions = {stanza.name: stanza.version for stanza in found.base.stanzas}
    packages = tuple(
        replace(each, installed=versions.get(each.name, "")) for each in result.packages
    )
    return replace(result, packages=packages)


def search_packages(apt: AptDirectory, words: Sequence[str]) -> SearchResult:
    """As ``search_machine``, in the lists of ``apt``."""
    stamps = [
        path.stat().st_mtime
        for source in apt.sources
        if (path := release_path(apt, source)) is not None
    ]
    with opened_lists(apt) as lists:
        found = [
            FoundPackage(
                name=each.stanza.name,
                version=each.stanza.version,
                suite=each.source.suite if each.source else "",
                description=each.stanza.fields.get("description", "").partition("\n")[0],
            )
            for each in lists.find_words(words)
        ]
    return SearchResult(
        packages=sort_found(found, words), updated=int(min(stamps)) if stamps else None
    )


def sort_found(found: Iterable[FoundPackage], words: Sequence[str]) -> tuple[FoundPackage, ...]:
    """The newest suite's row of each package: first the name that is asked for, then names that
    have a word, then the others."""
    wanted = [word.lower() for word in words]
    rows = {(each.name, each.version): each for each in found}

    def rank(each: FoundPackage) -> tuple[bool, bool, str]:
        return (
            each.name not in wanted,
            not any(word in each.name for word in wanted),
            each.name,
        )

    return tuple(sorted(rows.values(), key=rank))
