"""A lint, what it looks at, and what it finds; the facts that lints may need."""

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
    FATAL = "fatal"
    """The build fails, or the system does not do what the recipe says."""
    WARNING = "warning"
    """It builds and runs; somebody should have meant it."""


class FactKind(StrEnum):
    """A kind of facts that cannot always be had."""

    LISTS = "package lists"
    PLAN = "what will be installed"
    CONTENTS = "the packages' files"
    ACCOUNTS = "the packages' accounts"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveFacts:
    """What the archives offer, of the packages that the recipe names.

    ``virtual`` maps names that others provide to those; ``near`` maps names that nobody has to
    names like it; ``elsewhere`` holds offers of theirs in components that the recipe does not use.
    ``suites`` are all that there are.
    """

    offers: tuple[AvailablePackage, ...] = ()
    virtual: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    near: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    elsewhere: tuple[AvailablePackage, ...] = ()
    suites: frozenset[str] = frozenset()

    def knows(self, name: str) -> bool:
        return name in self.virtual or any(offer.name == name for offer in self.offers)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedPaths:
    """Which paths packages ship, as far as it is known: path to package.

    ``whole``: of every package that will be installed. Directories in /var are left out.
    """

    owners: Mapping[str, str]
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownAccounts:
    """Names to ids of all accounts that Debian's packages make in this tree."""

    users: Mapping[str, int]
    groups: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """A file that the recipe names. ``package`` is what a .deb file says it is.

    ``kind`` is ``file``, ``directory`` or ``other``; ``sha256`` is as locks have it. ``secret``:
    there is a private key in it, or in a file below.
    """

    kind: str
    sha256: str | None = None
    package: str | None = None
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LintFacts:
    """What is known beside the recipe; ``missing`` says why the others are not.

    ``local`` has every local name of the recipe, None where nothing is there. ``plan`` are all
    packages of the tree; ``unmet`` is why there cannot be any. ``contents`` may be there and
    missing: what is known of them is a part. ``asked`` is what the recipe asks of packages, in a
    lock's words; ``refused`` is why the archives gave no lists. ``failed`` are the missing ones
    that an error took away: others are not known before a build, or were not to be fetched.
    """

    local: Mapping[str, LocalFile | None] = field(default_factory=dict)
    lists: ArchiveFacts | None = None
    plan: tuple[Package, ...] | None = None
    unmet: str | None = None
    contents: ShippedPaths | None = None
    accounts: KnownAccounts | None = None
    asked: tuple[str, ...] | None = None
    refused: str | None = None
    missing: Mapping[FactKind, str] = field(default_factory=dict)
    failed: frozenset[FactKind] = frozenset()

    def has(self, need: FactKind) -> bool:
        return {
            FactKind.LISTS: self.lists,
            FactKind.PLAN: self.plan,
            FactKind.CONTENTS: self.contents,
            FactKind.ACCOUNTS: self.accounts,
        }[need] is not None

    def plans(self, *names: str) -> bool:
        """Whether one of ``names`` will be installed; a ``*`` at the end stands for any rest."""
        return any(_fits(package.name, name) for package in self.plan or () for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class LintSubject:
    recipe: Recipe
    lock: Lock | None
    facts: LintFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``key`` is the key at fault as a person writes it, ``value`` what stands there: both
    together lead to the line."""

    message: str
    hint: str | None = None
    key: str | None = None
    value: object = None


Check: TypeAlias = Callable[[LintSubject], Iterator[Finding]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lint:
    """``summary`` is what it finds in a few words, ``why`` what happens then and what to do."""

    name: str
    severity: Severity
    summary: str
    why: str
    check: Check
    needs: tuple[FactKind, ...] = ()


def _fits(name: str, pattern: str) -> bool:
    if pattern.endswith("*"):
        return name.startswith(pattern[:-1])
    return name == pattern
