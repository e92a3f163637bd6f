"""Lints of what is installed: names, versions, where from, and what does not go together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.debian.resolve import parse_requirement
from atoll.lint.model import FactKind, Finding, Lint, Severity
from atoll.lint.names import wanted_packages
from atoll.recipe.model import DebianBase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.lint.model import ArchiveFacts, LintSubject

INSTALL = "packages.install"
_MOVING_SUITES = ("sid", "testing", "unstable", "stable")


def check_unknown(subject: LintSubject) -> Iterator[Finding]:
    lists = subject.facts.lists
    assert lists is not None
    for word in wanted_packages(subject.recipe):
        requirement = parse_requirement(word)
        name, architecture = requirement.name, requirement.architecture
        foreign = architecture is not None and not _has_architecture(subject, architecture)
        if not foreign and not lists.knows(name):
            key = "kernel.package" if word == subject.recipe.kernel.package else INSTALL
            yield Finding(
                message=f"{subject.recipe.debian.suite} has no package {name}",
                hint=_where_else(name, lists),
                key=key,
                value=word,
            )


def _where_else(name: str, lists: ArchiveFacts) -> str | None:
    components = sorted({offer.component for offer in lists.elsewhere if offer.name == name})
    if components:
        return f"it is in {components[0]}: add it to [debian] components"
    near = lists.near.get(name)
    return f"did you mean {' or '.join(near)}?" if near else "check the name"


def check_version(subject: LintSubject) -> Iterator[Finding]:
    lists = subject.facts.lists
    assert lists is not None
    for word in wanted_packages(subject.recipe):
        requirement = parse_requirement(word)
        if requirement.version is not None:
            yield from _version(requirement.name, requirement.version, lists, INSTALL, word)
    for word, version in subject.recipe.packages.versions:
        name = parse_requirement(word).name
        yield from _version(name, version, lists, "packages.versions", version)


def _version(
    name: str, version: str, lists: ArchiveFacts, key: str, value: str
) -> Iterator[Finding]:
    there = [offer.version for offer in lists.offers if offer.name == name]
    if not there or any(_is_version(each, version) for each in there):
        return
    yield Finding(
        message=f"{name} is not there as {version}",
        hint=f"there is {' and '.join(sorted(set(there)))}; a lock keeps a version without this",
        key=key,
        value=value,
    )


def _is_version(version: str, pattern: str) -> bool:
    if pattern.endswith("*"):
        return version.startswith(pattern[:-1])
    return version == pattern


def check_source(subject: LintSubject) -> Iterator[Finding]:
    lists = subject.facts.lists
    if subject.facts.refused is not None:
        yield Finding(
            message=subject.facts.refused,
            hint="check [debian], [[repo]], and suites that packages are taken from",
            key="debian",
        )
    if lists is None:
        return
    names = {repo.name for repo in subject.recipe.repositories} | lists.suites
    words = wanted_packages(subject.recipe)
    asked = [(word, parse_requirement(word).suite, INSTALL) for word in words]
    asked += [(source, source, "packages.sources") for _, source in subject.recipe.packages.sources]
    for value, source, key in asked:
        if source is not None and source not in names:
            yield Finding(
                message=f"there is no suite or repository {source} here",
                hint=f"there is: {', '.join(sorted(names))}",
                key=key,
                value=value,
            )


def check_architecture(subject: LintSubject) -> Iterator[Finding]:
    words = [(word, INSTALL) for word in wanted_packages(subject.recipe)]
    words += [(word, "packages.remove") for word in subject.recipe.packages.remove]
    for word, key in words:
        foreign = parse_requirement(word).architecture
        if foreign is not None and not _has_architecture(subject, foreign):
            yield Finding(
                message=f"{word} is for {foreign}, which the system does not have",
                hint=f'add it: [debian] architectures = ["{foreign}"]',
                key=key,
                value=word,
            )


def _has_architecture(subject: LintSubject, name: str) -> bool:
    own = ("any", "all", "native", "amd64", "arm64")
    return name in own or name in subject.recipe.debian.architectures


def check_unmet(subject: LintSubject) -> Iterator[Finding]:
    if subject.facts.unmet is not None:
        yield Finding(
            message=f"the packages do not fit together: {subject.facts.unmet}",
            hint="a package of another architecture also needs [debian] architectures",
            key=INSTALL,
        )


def check_removed(subject: LintSubject) -> Iterator[Finding]:
    lists = subject.facts.lists
    assert lists is not None
    for word in subject.recipe.packages.remove:
        name = parse_requirement(word).name
        if not lists.knows(name):
            near = lists.near.get(name)
            yield Finding(
                message=f"{name} is to be removed, and there is no such package",
                hint=f"did you mean {' or '.join(near)}?" if near else "take it out",
                key="packages.remove",
                value=word,
            )


def check_dkms_headers(subject: LintSubject) -> Iterator[Finding]:
    modules = _dkms_packages(subject)
    if modules and not subject.facts.plans("linux-headers-*"):
        yield Finding(
            message=f"{', '.join(modules)} cannot be built for the kernel without its headers",
            hint="add the headers of the kernel that is installed, such as linux-headers-amd64",
            key=INSTALL,
            value=modules[0],
        )


def check_unsigned_modules(subject: LintSubject) -> Iterator[Finding]:
    modules = _dkms_packages(subject)
    if modules:
        yield Finding(
            message=f"the modules of {', '.join(modules)} are not signed by Debian",
            hint="a machine with Secure Boot does not load them unless it trusts a key of yours",
            key=INSTALL,
            value=modules[0],
        )


def _dkms_packages(subject: LintSubject) -> list[str]:
    plan = subject.facts.plan or ()
    return [package.name for package in plan if package.name.endswith("-dkms")]


def check_firmware(subject: LintSubject) -> Iterator[Finding]:
    facts = subject.facts
    virtual = facts.plans("linux-image-cloud-*")
    if facts.plans("linux-image-*") and not virtual and not facts.plans("firmware-*"):
        yield Finding(
            message="no firmware is installed: many network, graphics and sound devices need it",
            hint="add firmware-linux-free, or of [debian] components non-free-firmware: "
            "firmware-linux; for virtual machines there is linux-image-cloud-amd64",
            key=INSTALL,
        )


def check_locales(subject: LintSubject) -> Iterator[Finding]:
    system = subject.recipe.system
    wanted = [name for name in (system.locale, *system.locales) if name is not None]
    made = [name for name in wanted if name not in ("C", "C.UTF-8", "POSIX")]
    if made and not subject.facts.plans("locales", "locales-all"):
        yield Finding(
            message=f"{made[0]} cannot be made: the package locales is not installed",
            hint='add "locales" to [packages] install',
            key="system.locale",
            value=made[0],
        )


def check_time_zone(subject: LintSubject) -> Iterator[Finding]:
    zone = subject.recipe.system.timezone
    if zone is not None and not subject.facts.plans("tzdata"):
        yield Finding(
            message=f"the root knows no time zone {zone}: the package tzdata is not installed",
            hint='add "tzdata" to [packages] install',
            key="system.timezone",
            value=zone,
        )


def check_key(subject: LintSubject) -> Iterator[Finding]:
    for repo in subject.recipe.repositories:
        if not repo.key:
            yield Finding(
                message=f"the repository {repo.name} has no key, so apt does not believe it",
                hint='put its public key beside the recipe, and write: key = "NAME.asc"',
                key="repo.name",
                value=repo.name,
            )


def check_suite(subject: LintSubject) -> Iterator[Finding]:
    base = subject.recipe.base
    if isinstance(base, DebianBase) and base.suite in _MOVING_SUITES:
        yield Finding(
            message=f"{base.suite} becomes another Debian one day",
            hint="name a release, such as debian:trixie, unless that is what you want",
            key="from",
            value=f"debian:{base.suite}",
        )


LINTS = (
    Lint(
        name="package-unknown",
        severity=Severity.FATAL,
        summary="a package is in none of the package lists",
        why="apt cannot install it. A name may be misspelt, or in a component (contrib, non-free, "
        "non-free-firmware) that [debian] components does not name.",
        check=check_unknown,
        needs=(FactKind.LISTS,),
    ),
    Lint(
        name="version-unknown",
        severity=Severity.FATAL,
        summary="a package is not there in the version that is asked for",
        why="Mirrors keep the newest version only. A lock pins versions, and keeps what it pinned; "
        "a version in the recipe is for holding one back.",
        check=check_version,
        needs=(FactKind.LISTS,),
    ),
    Lint(
        name="source-unknown",
        severity=Severity.FATAL,
        summary="a package is wanted from a suite or repository that is not there",
        why="apt takes packages from suites of the recipe's mirror and from its [[repo]] tables.",
        check=check_source,
    ),
    Lint(
        name="architecture-missing",
        severity=Severity.FATAL,
        summary="a package is for an architecture that the system does not have",
        why="NAME:i386 needs [debian] architectures to name i386.",
        check=check_architecture,
    ),
    Lint(
        name="packages-unmet",
        severity=Severity.FATAL,
        summary="the packages do not fit together",
        why="apt was asked what it would install, and there is no way: a package is missing that "
        "another one needs, or two exclude each other. The message has apt's reasons.",
        check=check_unmet,
        needs=(FactKind.LISTS,),
    ),
    Lint(
        name="removed-unknown",
        severity=Severity.WARNING,
        summary="a package is to be removed that does not exist",
        why="Nothing happens, so it is probably a misspelt name.",
        check=check_removed,
        needs=(FactKind.LISTS,),
    ),
    Lint(
        name="dkms-without-headers",
        severity=Severity.FATAL,
        summary="a module is to be built, and the kernel's headers are not there",
        why="DKMS builds modules for the kernel of the image while the image is built; without "
        "headers that fails, and so does the build.",
        check=check_dkms_headers,
        needs=(FactKind.PLAN,),
    ),
    Lint(
        name="modules-unsigned",
        severity=Severity.WARNING,
        summary="modules that DKMS builds do not load under Secure Boot",
        why="A kernel that was started by Secure Boot loads signed modules only, and Debian signs "
        "only its own.",
        check=check_unsigned_modules,
        needs=(FactKind.PLAN,),
    ),
    Lint(
        name="firmware-missing",
        severity=Severity.WARNING,
        summary="no firmware is installed for a system on real hardware",
        why="Drivers of many devices load firmware that Debian packs apart from the kernel. "
        "Virtual machines need none.",
        check=check_firmware,
        needs=(FactKind.PLAN,),
    ),
    Lint(
        name="locales-missing",
        severity=Severity.FATAL,
        summary="a locale is wanted, and what makes locales is not installed",
        why="All locales but C and C.UTF-8 are made by the package locales.",
        check=check_locales,
        needs=(FactKind.PLAN,),
    ),
    Lint(
        name="time-zones-missing",
        severity=Severity.FATAL,
        summary="a time zone is wanted, and the time zones are not installed",
        why="They are in the package tzdata.",
        check=check_time_zone,
        needs=(FactKind.PLAN,),
    ),
    Lint(
        name="repository-unsigned",
        severity=Severity.FATAL,
        summary="a repository has no key",
        why="apt refuses packages that nobody signed, or whose key it does not have.",
        check=check_key,
    ),
    Lint(
        name="suite-moves",
        severity=Severity.WARNING,
        summary="the suite is a name that other releases will have",
        why="stable, testing and unstable mean another Debian one day, and a lock that is updated "
        "then brings all of it at once.",
        check=check_suite,
    ),
)
