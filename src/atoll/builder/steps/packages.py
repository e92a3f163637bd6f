"""Install the packages of a lock into a root: fetch them, then install them stage by stage.

::

    pins ─→ <cache>/debs ─→ first root ─→ stage 1 ─→ stage 2 … ─→ apt's marks and sources
            (cached)        (cached)      each is a step, cached

A package that is added to a lock later gets a new stage, so the cached earlier stages stay valid. A
computer with an empty cache installs the same stages one after the other, and gets the same tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.builder.cache import make_id
from atoll.builder.steps.tree_sources import format_list, kept_repositories, write_tree_sources
from atoll.debian.atoll_package import is_own
from atoll.debian.bootstrap import ensure_root, first_packages, root_id
from atoll.debian.fetch import Origins, fetch_pins, verify_pin
from atoll.debian.install import InstallBatch, install_batch
from atoll.debian.local_archive import deb_path, read_stanza
from atoll.debian.resolve import format_automatic, parse_automatic
from atoll.host.in_root import exists_in_root, in_root, read_text, write_text
from atoll.host.poll_progress import elapsed_reported
from atoll.lock.own_packages import find_own
from atoll.lock.requirements import snapshot_uris

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from atoll.base.report import Reporter
    from atoll.builder.cache import Cache
    from atoll.builder.steps.step import Step
    from atoll.debian.pin import Pin
    from atoll.debian.stanza import Stanza
    from atoll.lock.model import Lock
    from atoll.recipe.model import Recipe

FIRST = 1
"""The number of the first stage."""
_STATES = "var/lib/apt/extended_states"
_FORM = "packages 4"
"""Increase the number when the same pins give another root: cached steps are then ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedPackages:
    """The packages of a lock, fetched when needed. ``offline``: a package that is not in the cache
    is an error."""

    recipe: Recipe
    lock: Lock
    cache: Cache
    reporter: Reporter
    offline: bool = False

    def fetch(self, pins: Iterable[Pin]) -> tuple[tuple[Pin, Stanza], ...]:
        """Fetch ``pins`` into the cache; each with its control data. Raises NetworkError, NotFound,
        Damaged or NoSpace."""
        pins = tuple(pins)
        snapshots = snapshot_uris(self.recipe, self.lock.epoch)
        origins = Origins(archives=self.lock.archives, local=self._local, fallbacks=snapshots)
        fetch_pins(pins, origins, self.cache.debs, offline=self.offline, reporter=self.reporter)
        return tuple((pin, read_stanza(self.cache.debs, pin)) for pin in pins)

    def _local(self, pin: Pin) -> Path:
        if is_own(pin.path):
            return find_own(self.recipe, pin, self.cache.root)
        return self.recipe.resolve(pin.path)

    def stage(self, number: int) -> tuple[Pin, ...]:
        return tuple(pin for pin in self.lock.packages if pin.stage == number)

    @property
    def removed(self) -> tuple[str, ...]:
        """The packages of the base that go."""
        return self.recipe.packages.remove if self.lock.base else ()

    def batch(
        self, entries: tuple[tuple[Pin, Stanza], ...], *, remove: tuple[str, ...] = ()
    ) -> InstallBatch:
        """What installing ``entries`` and removing ``remove`` needs. Raises Damaged when a package
        file in the cache changed."""
        for pin, _ in entries:
            _verify(pin, deb_path(self.cache.debs, pin))
        return InstallBatch(
            entries=entries,
            debs=self.cache.debs,
            log_path=self.cache.logs / "packages.log",
            native=self.lock.architecture,
            foreign=tuple(sorted(self.recipe.debian.architectures)),
            debconf=self.recipe.packages.debconf,
            remove=remove,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallStage:
    """A step that installs the packages of one stage, except those that are in the first root."""

    packages: LockedPackages
    number: int

    @property
    def title(self) -> str:
        return "Installing packages" if self.number == 1 else f"Adding packages ({self.number})"

    def parts(self) -> tuple[str, ...]:
        recipe = self.packages.recipe
        pins = (pin.sha256 for pin in self.packages.stage(self.number))
        return (
            _FORM,
            *pins,
            "answers",
            *recipe.packages.debconf,
            "foreign",
            *sorted(recipe.debian.architectures),
            "remove",
            *self._removed,
        )

    @property
    def _removed(self) -> tuple[str, ...]:
        """The first stage removes packages of the base. apt no longer knows them in later ones."""
        return self.packages.removed if self.number == FIRST else ()

    def execute(self, root: Path, workspace: Path) -> None:  # noqa: ARG002
        entries = self.packages.fetch(self.packages.stage(self.number))
        if self.number == 1 and self.packages.lock.base is None:
            installed = {pin for pin, _ in first_packages(entries)}
            entries = tuple(entry for entry in entries if entry[0] not in installed)
        if entries or self.packages.lock.base:
            batch = self.packages.batch(entries, remove=self._removed)
            install_batch(root, batch, self.packages.reporter)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishPackages:
    """A step that writes apt's auto-installed marks and its sources."""

    packages: LockedPackages
    title: str = "Writing apt's lists"

    def parts(self) -> tuple[str, ...]:
        recipe, lock = self.packages.recipe, self.packages.lock
        keys = tuple(text for repo in kept_repositories(recipe) for text in repo)
        return ("finish 1", self._marks(), format_list(recipe, lock.archives), *keys)

    def execute(self, root: Path, workspace: Path) -> None:  # noqa: ARG002
        if not exists_in_root(root, "usr/bin/apt-get"):
            return
        path = in_root(root, _STATES, follow=False)
        lock = self.packages.lock
        before = read_text(root, _STATES, missing="") if lock.base else ""
        text = self._marks(before)
        if text != before or not path.is_file():
            write_text(root, _STATES, text, mode=0o644)
        if lock.archives or not lock.base:
            write_tree_sources(root, self.packages.recipe, lock.archives)

    def _marks(self, before: str = "") -> str:
        """The marks of the lock, and those of the base for packages that are not in the lock."""
        lock = self.packages.lock
        keys = [(pin.name, pin.architecture) for pin in lock.packages if pin.automatic]
        names = {pin.name for pin in lock.packages}
        kept = [key for key in parse_automatic(before) if key[0] not in names]
        return format_automatic([*kept, *keys], lock.architecture)


def start_id(packages: LockedPackages) -> str:
    """The id of the first root. It needs only the pins, so nothing is fetched for it."""
    return make_id(_FORM, "root", *(pin.sha256 for pin in packages.stage(1)))


def make_start(packages: LockedPackages) -> Path:
    """The first root, which all recipes with the same first packages share."""
    first = first_packages(packages.fetch(packages.stage(1)))
    kept = packages.cache.find("roots", root_id(first))
    if kept is not None:
        return kept
    with packages.reporter.step("Making the first root"), elapsed_reported(packages.reporter):
        return ensure_root(packages.batch(first), packages.cache.root)


def plan_packages(packages: LockedPackages) -> tuple[Step, ...]:
    """The steps for packages, after the first root."""
    numbers = {pin.stage for pin in packages.lock.packages}
    if packages.removed:
        numbers.add(FIRST)
    stages = (InstallStage(packages=packages, number=number) for number in sorted(numbers))
    return (*stages, FinishPackages(packages=packages))


def _verify(pin: Pin, path: Path) -> None:
    """Check the digest of a package file before it is installed; a damaged one is removed."""
    try:
        verify_pin(pin, path, what=str(path))
    except Damaged as error:
        path.unlink()
        raise Damaged(
            error.message, hint="Atoll removed it; the next build fetches it again"
        ) from None
