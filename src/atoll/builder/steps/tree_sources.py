"""The sources of apt in the tree: the archives of the lock, never those of the building machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.debian.isolated_apt import is_armoured
from atoll.debian.sources import AptSource, format_sources
from atoll.host.in_root import write_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from atoll.debian.pin import PinnedArchive
    from atoll.recipe.model import Recipe, Repository

KEYRINGS = "etc/apt/keyrings"


def write_tree_sources(root: Path, recipe: Recipe, archives: Iterable[PinnedArchive]) -> None:
    """Write /etc/apt/sources.list for Debian, and a .sources file and key for each repository with
    ``keep``."""
    write_text(root, "etc/apt/sources.list", format_list(recipe, archives), mode=0o644)
    for repo in recipe.repositories:
        if repo.keep:
            _write_repository(root, recipe, repo, archives)


def format_list(recipe: Recipe, archives: Iterable[PinnedArchive]) -> str:
    """The text of sources.list: the suite, its updates and its security updates. Suites that only
    single packages come from are left out: apt would take all packages from them."""
    suite = recipe.debian.suite
    known = (suite, f"{suite}-updates", f"{suite}-security")
    return "".join(
        f"deb {one.uri} {one.suite} {' '.join(one.components)}\n"
        for one in archives
        if one.name in known
    )


def _write_repository(
    root: Path, recipe: Recipe, repo: Repository, archives: Iterable[PinnedArchive]
) -> None:
    names = (repo.name, *(f"{repo.name}-{number}" for number in range(1, 100)))
    key = _write_key(root, recipe, repo)
    text = format_sources(
        AptSource(
            name=one.name,
            uri=one.uri,
            suite=one.suite,
            components=one.components,
            architectures=repo.architectures,
            key=key,
        )
        for one in archives
        if one.name in names
    )
    if text:
        write_text(root, f"etc/apt/sources.list.d/{repo.name}.sources", text, mode=0o644)


def _write_key(root: Path, recipe: Recipe, repo: Repository) -> Path | None:
    """Write the key of a repository; its path in the running system."""
    if not repo.key:
        return None
    content = recipe.resolve(repo.key).read_bytes()
    suffix = "asc" if is_armoured(content) else "gpg"
    path = f"/{KEYRINGS}/{repo.name}.{suffix}"
    write_text(root, path, content, mode=0o644)
    return type(root)(path)


def kept_repositories(recipe: Recipe) -> tuple[tuple[str, ...], ...]:
    """Everything that decides what ``write_tree_sources`` writes for repositories."""
    return tuple(
        (repr(repo), recipe.resolve(repo.key).read_bytes().hex() if repo.key else "")
        for repo in recipe.repositories
        if repo.keep
    )
