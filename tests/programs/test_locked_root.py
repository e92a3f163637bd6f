"""A small root of the real suite from a lock: the same on a machine that has nothing yet.

The lock grows by a package, so there are two stages. One store installs the first stage, then only
the second; the other has nothing but the packages, and installs both.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.base.report import NullReporter
from atoll.builder.cache import opened_cache
from atoll.builder.lock_command import audit, follow_recipe
from atoll.builder.steps.packages import LockedPackages, make_start, plan_packages, start_id
from atoll.builder.steps.step_cache import Chain, chain_mounted, run_steps
from atoll.debian.dpkg_database import read_packages
from atoll.lock.path import lock_path
from atoll.lock.serialize import read_lock
from atoll.recipe.model import Debian, DebianBase, EmptyBase, Image, Packages, Recipe
from atoll.store.layout import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.network]

QUIET = NullReporter()
ANSWERS = ("tzdata tzdata/Areas select Europe", "tzdata tzdata/Zones/Europe select Paris")
NO_APT = (
    "base-files",
    "base-passwd",
    "bash",
    "coreutils",
    "dash",
    "debianutils",
    "diffutils",
    "dpkg",
    "findutils",
    "grep",
    "hello",
    "libc-bin",
    "mawk",
    "perl-base",
    "sed",
    "tar",
)
OF_THE_BUILD = (
    "var/log/",
    "var/cache/",
    "etc/.pwd.lock",
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/triggers/Lock",
    "var/lib/dpkg/diversions-old",
)
"""What a build takes away, or sets, once a root is made."""


@dataclass
class Seen:
    """What is in a root, by path, and which stages had to be installed for it."""

    files: dict[str, str]
    packages: dict[str, str]
    sources: str
    marks: str
    ran: list[str]


class Steps(NullReporter):
    def __init__(self) -> None:
        self.titles: list[str] = []

    def step(self, title: str):  # type: ignore[no-untyped-def,explicit-override]
        self.titles.append(title)
        return super().step(title)


def build_root(recipe: Recipe, store: Path, *, offline: bool) -> Seen:
    steps = Steps()
    lock = read_lock(lock_path(recipe))
    with opened_cache(store / "cache") as cache:
        supply = LockedPackages(
            recipe=recipe, lock=lock, cache=cache, reporter=steps, offline=offline
        )
        chain = Chain(cache=cache, id=start_id(supply), layers=(make_start(supply),))
        with chain_mounted(run_steps(chain, plan_packages(supply), steps)) as root:
            return Seen(
                files=dict(look(root)),
                packages={one.name: one.version for one in read_packages(root / "var/lib/dpkg")},
                sources=read_if_there(root / "etc/apt/sources.list"),
                marks=read_if_there(root / "var/lib/apt/extended_states"),
                ran=steps.titles,
            )


def read_if_there(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def look(root: Path) -> list[tuple[str, str]]:
    found = []
    for directory, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(directory) / name
            relative = str(path.relative_to(root))
            if relative.startswith(OF_THE_BUILD):
                continue
            status = path.lstat()
            what = f"{status.st_mode:o} {status.st_uid}:{status.st_gid} "
            if path.is_symlink():
                what += str(path.readlink())
            elif path.is_file():
                what += hashlib.sha256(path.read_bytes()).hexdigest()
            found.append((relative, what))
    return found


@pytest.fixture(scope="module", autouse=True)
def bare_recipes() -> Iterator[None]:
    """Recipes get nothing by themselves: what these tests look at are Debian's packages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("atoll.lock.requirements.own_names", lambda *_: ())
        yield


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Seen, Seen, Path]:
    folder = tmp_path_factory.mktemp("locked")
    recipe = Recipe(
        file=str(folder / "atoll.toml"),
        text="",
        base=DebianBase(suite="trixie"),
        image=Image(name="small", version="1"),
        debian=Debian(suite="trixie"),
        packages=Packages(install=("bsdextrautils", "tzdata"), debconf=ANSWERS),
    )
    store = open_store(folder / "one", create=True)
    follow_recipe(recipe, store, QUIET)
    build_root(recipe, store.root, offline=False)
    words = ("bsdextrautils", "tzdata", "hostname", "hello")
    recipe = replace(recipe, packages=Packages(install=words, debconf=ANSWERS))
    follow_recipe(recipe, store, QUIET)
    grown = build_root(recipe, store.root, offline=False)
    (folder / "two/cache").mkdir(parents=True)
    (store.root / "cache/debs").rename(folder / "two/cache/debs")
    fresh = build_root(recipe, folder / "two", offline=True)
    return recipe, grown, fresh, folder


def test_what_was_installed_before_is_used_again(
    roots: tuple[Recipe, Seen, Seen, Path],
) -> None:
    _, grown, fresh, _ = roots
    assert "Installing packages" not in grown.ran and "Adding packages (2)" in grown.ran
    assert {"Making the first root", "Installing packages", "Adding packages (2)"} <= {*fresh.ran}


def test_both_ways_give_the_same_root(roots: tuple[Recipe, Seen, Seen, Path]) -> None:
    _, grown, fresh, _ = roots
    changed = {
        path
        for path in grown.files.keys() | fresh.files.keys()
        if grown.files.get(path) != fresh.files.get(path)
    }
    assert not changed
    assert (grown.marks, grown.sources) == (fresh.marks, fresh.sources)


def test_the_root_has_exactly_the_locked_packages(
    roots: tuple[Recipe, Seen, Seen, Path],
) -> None:
    recipe, _, fresh, _ = roots
    lock = read_lock(lock_path(recipe))
    assert fresh.packages == {pin.name: pin.version for pin in lock.packages}
    automatic = {line.partition(" ")[2] for line in fresh.marks.splitlines() if "Package" in line}
    assert automatic == {pin.name for pin in lock.packages if pin.automatic}
    assert "hello" in fresh.packages and "hello" not in automatic


def test_nothing_in_the_root_tells_of_the_archive_it_was_installed_from(
    roots: tuple[Recipe, Seen, Seen, Path],
) -> None:
    _, _, fresh, _ = roots
    assert "file:" not in fresh.sources
    assert " trixie main\n" in fresh.sources and "trixie-security main\n" in fresh.sources
    below = ("var/lib/apt/lists/", "etc/apt/sources.list.d/", "usr/sbin/policy-rc.d", "run/")
    assert not [
        path
        for path in fresh.files
        if path.startswith(below) and not path.endswith(("/lock", "/partial", "auxfiles"))
    ]


def test_questions_are_answered_before_they_are_asked(
    roots: tuple[Recipe, Seen, Seen, Path],
) -> None:
    _, _, fresh, _ = roots
    assert fresh.files["etc/localtime"].endswith(" /usr/share/zoneinfo/Europe/Paris")


def test_an_audit_asks_the_real_archive(roots: tuple[Recipe, Seen, Seen, Path]) -> None:
    recipe, _, _, folder = roots
    assert audit(recipe, open_store(folder / "two", create=True), QUIET) == ()


def test_a_root_without_apt_is_installed_by_its_dpkg(
    roots: tuple[Recipe, Seen, Seen, Path], tmp_path: Path
) -> None:
    recipe = replace(
        roots[0],
        file=str(tmp_path / "atoll.toml"),
        base=EmptyBase(),
        packages=Packages(install=NO_APT),
    )
    store = open_store(tmp_path / "store", create=True)
    (roots[3] / "two/cache/debs").rename(store.root / "cache-debs")
    (store.root / "cache").mkdir()
    (store.root / "cache-debs").rename(store.root / "cache/debs")
    follow_recipe(recipe, store, QUIET)
    seen = build_root(recipe, store.root, offline=False)
    lock = read_lock(lock_path(recipe))
    assert seen.packages == {pin.name: pin.version for pin in lock.packages}
    assert "apt" not in seen.packages
