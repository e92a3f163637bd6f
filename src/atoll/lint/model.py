"""The data types of lints: lint, subject, finding, and the facts that lints need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from atoll.debian.apt_query import AvailablePackage
    from atoll.debian.dpkg_database import Package
    from atoll.lock.model import Lock
    from atoll.recipe.model import Recipe


class Severity(StrEnum):
    """How serious a finding is."""

    FATAL = "fatal"
    """The build fails, or the system does not do what the recipe says."""
    WARNING = "warning"
    """It builds and runs, but is rarely intended."""


class FactKind(StrEnum):
    """A kind of facts that are not always available."""

    LISTS = "package lists"
    PLAN = "what will be installed"
    CONTENTS = "the packages' files"
    ACCOUNTS = "the packages' accounts"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveFacts:
    """What the package lists say of the packages that the recipe names.

    ``virtual`` maps virtual packages to their providers; ``near`` maps unknown names to similar
    ones; ``elsewhere`` has unknown names that are in components that the recipe does not use.
    ``suites`` are all suites of the lists.
    """

    offers: tuple[AvailablePackage, ...] = ()
    virtual: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    near: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    elsewhere: tuple[AvailablePackage, ...] = ()
    suites: frozenset[str] = frozenset()

    def knows(self, name: str) -> bool:
        """Whether the lists have a real or virtual package of this name."""
        return name in self.virtual or any(offer.name == name for offer in self.offers)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedPaths:
    """The known paths of packages: path to package. Directories in /var are left out.

    ``whole``: the files of all packages that will be installed are known.
    """

    owners: Mapping[str, str]
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownAccounts:
    """Ids by name of all accounts that Debian's packages create in this tree."""

    users: Mapping[str, int]
    groups: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """A local file that the recipe names.

    ``kind`` is ``file``, ``directory`` or ``other``; ``sha256`` is as in locks. ``package`` is the
    package name of a .deb file. ``secret``: it has a private key, or a file below it has.
    """

    kind: str
    sha256: str | None = None
    package: str | None = None
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LintFacts:
    """The known facts.

    ``local`` has every local file name of the recipe, None for a missing file. ``plan`` are all
    packages of the tree; ``unmet`` is apt's reason why they cannot be installed. ``requirements``
    are those of packages as in a lock. ``refused`` is why package lists could not be fetched.

    ``missing`` has the reason for each kind of facts that is unknown or incomplete: ``contents``
    can be present and missing, as a part. ``failed`` are those that are missing because of an
    error; the others are not known before a build, or may not be fetched (``--offline``).
    """

    local: Mapping[str, LocalFile | None] = field(default_factory=dict)
    lists: ArchiveFacts | None = None
    plan: tuple[Package, ...] | None = None
    unmet: str | None = None
    contents: ShippedPaths | None = None
    accounts: KnownAccounts | None = None
    requirements: tuple[str, ...] | None = None
    refused: str | None = None
    missing: Mapping[FactKind, str] = field(default_factory=dict)
    failed: frozenset[FactKind] = frozenset()

    def has(self, need: FactKind) -> bool:
        """Whether facts of this kind are present, if only in part."""
        return {
            FactKind.LISTS: self.lists,
            FactKind.PLAN: self.plan,
            FactKind.CONTENTS: self.contents,
            FactKind.ACCOUNTS: self.accounts,
        }[need] is not None

    def plans(self, *names: str) -> bool:
        """Whether the plan has one of ``names``; each may end in ``*``, which matches the rest."""
        return any(_matches(package.name, name) for package in self.plan or () for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class LintSubject:
    """What lints check: a recipe, its lock if there is one, and the known facts."""

    recipe: Recipe
    lock: Lock | None
    facts: LintFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A problem. ``key`` is the recipe's key, such as ``user.shell``, and ``value`` its value:
    together they determine the line."""

    message: str
    hint: str | None = None
    key: str | None = None
    value: object = None


Check: TypeAlias = Callable[[LintSubject], Iterator[Finding]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lint:
    """``summary`` is what it finds, in a few words; ``why`` gives the consequences.

    ``needs`` are the facts without which the lint is skipped.
    """

    name: str
    severity: Severity
    summary: str
    why: str
    check: Check
    needs: tuple[FactKind, ...] = ()


def _matches(name: str, pattern: str) -> bool:
    if pattern.endswith("*"):
        return name.startswith(pattern[:-1])
    return name == pattern
