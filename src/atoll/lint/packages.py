"""Lints of packages: names, versions, sources, and packages that are missing for others."""

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
    for text in wanted_packages(subject.recipe):
        requirement = parse_requirement(text)
        name, architecture = requirement.name, requirement.architecture
        foreign = architecture is not None and not _has_architecture(subject, architecture)
        if not foreign and not lists.knows(name):
            key = "kernel.package" if text == subject.recipe.kernel.package else INSTALL
            yield Finding(
                message=f"{subject.recipe.debian.suite} has no package {name}",
                hint=_where_else(name, lists),
                key=key,
                value=text,
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
    for text in wanted_packages(subject.recipe):
        requirement = parse_requirement(text)
        if requirement.version is not None:
            yield from _version(requirement.name, requirement.version, lists, INSTALL, text)
    for text, version in subject.recipe.packages.versions:
        name = parse_requirement(text).name
        yield from _version(name, version, lists, "packages.versions", version)


def _version(
    name: str, version: str, lists: ArchiveFacts, key: str, value: str
) -> Iterator[Finding]:
    offered = [offer.version for offer in lists.offers if offer.name == name]
    if not offered or any(_is_version(each, version) for each in offered):
        return
    yield Finding(
        message=f"{name} has no version {version}",
        hint=f"available: {', '.join(sorted(set(offered)))}; a lock "
        "keeps a version even without this",
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
    wanted = wanted_packages(subject.recipe)
    named = [(each, parse_requirement(each).suite, INSTALL) for each in wanted]
    named += [(source, source, "packages.sources") for _, source in subject.recipe.packages.sources]
    for value, source, key in named:
        if source is not None and source not in names:
            yield Finding(
                message=f"the recipe has no suite or repository {source}",
                hint=f"it has: {', '.join(sorted(names))}",
                key=key,
                value=value,
            )


def check_architecture(subject: LintSubject) -> Iterator[Finding]:
    named = [(text, INSTALL) for text in wanted_packages(subject.recipe)]
    named += [(text, "packages.remove") for text in subject.recipe.packages.remove]
    for text, key in named:
        foreign = parse_requirement(text).architecture
        if foreign is not None and not _has_architecture(subject, foreign):
            yield Finding(
                message=f"{text} is for {foreign}, which the system does not have",
                hint=f'add it: [debian] architectures = ["{foreign}"]',
                key=key,
                value=text,
            )


def _has_architecture(subject: LintSubject, name: str) -> bool:
    own = ("any", "all", "native", "amd64", "arm64")
    return name in own or name in subject.recipe.debian.architectures


def check_unmet(subject: LintSubject) -> Iterator[Finding]:
    if subject.facts.unmet is not None:
        yield Finding(
            message=f"the packages cannot be installed together: {subject.facts.unmet}",
            hint="packages of a foreign architecture need it in [debian] architectures",
            key=INSTALL,
        )


def check_removed(subject: LintSubject) -> Iterator[Finding]:
    lists = subject.facts.lists
    assert lists is not None
    for text in subject.recipe.packages.remove:
        name = parse_requirement(text).name
        if not lists.knows(name):
            near = lists.near.get(name)
            yield Finding(
                message=f"{name} cannot be removed: there is no such package",
                hint=f"did you mean {' or '.join(near)}?" if near else "remove it from the list",
                key="packages.remove",
                value=text,
            )


def check_dkms_headers(subject: LintSubject) -> Iterator[Finding]:
    modules = _dkms_packages(subject)
    if modules and not subject.facts.plans("linux-headers-*"):
        yield Finding(
            message=f"{', '.join(modules)} cannot be built without the headers of the kernel",
            hint="add the headers of the installed kernel, such as linux-headers-amd64",
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


def check_locales(subject: LintSubject) -> Iterator[Finding]:
    system = subject.recipe.system
    wanted = [name for name in (system.locale, *system.locales) if name is not None]
    generated = [name for name in wanted if name not in ("C", "C.UTF-8", "POSIX")]
    if generated and not subject.facts.plans("locales", "locales-all"):
        yield Finding(
            message=f"{generated[0]} cannot be generated: the package locales is not installed",
            hint='add "locales" to [packages] install',
            key="system.locale",
            value=generated[0],
        )


def check_time_zone(subject: LintSubject) -> Iterator[Finding]:
    zone = subject.recipe.system.timezone
    if zone is not None and not subject.facts.plans("tzdata"):
        yield Finding(
            message=f"the time zone {zone} cannot be set: the package tzdata is not installed",
            hint='add "tzdata" to [packages] install',
            key="system.timezone",
            value=zone,
        )


def check_key(subject: LintSubject) -> Iterator[Finding]:
    for repo in subject.recipe.repositories:
        if not repo.key:
            yield Finding(
                message=f"the repository {repo.name} has no signing key, so apt refuses it",
                hint='save its public key beside the recipe, and write: key = "NAME.asc"',
                key="repo.name",
                value=repo.name,
            )


def check_suite(subject: LintSubject) -> Iterator[Finding]:
    base = subject.recipe.base
    if isinstance(base, DebianBase) and base.suite in _MOVING_SUITES:
        yield Finding(
            message=f"{base.suite} is a rolling suite: it will be another Debian release one day",
            hint="to stay on one release, name it: debian:trixie",
            key="from",
            value=f"debian:{base.suite}",
        )


LINTS = (
    Lint(
        name="package-unknown",
        severity=Severity.FATAL,
        summary="a package is in none of the package lists",
        why="apt cannot install it. The name may be misspelt, or the package may be in a component "
        "(contrib, non-free, non-free-firmware) that [debian] components does not list.",
        check=check_unknown,
        needs=(FactKind.LISTS,),
    ),
    Lint(
        name="version-unknown",
        severity=Severity.FATAL,
        summary="the archive does not have a package in the requested version",
        why="Mirrors keep only the newest version. A lock pins versions and keeps what it pinned; "
        "name a version in the recipe only to hold a package back.",
        check=check_version,
        needs=(FactKind.LISTS,),
    ),
    Lint(
        name="source-unknown",
        severity=Severity.FATAL,
        summary="a package names a suite or repository that the recipe does not have",
        why="apt takes packages from suites of the recipe's mirror and from [[repo]] tables.",
        check=check_source,
    ),
    Lint(
        name="architecture-missing",
        severity=Severity.FATAL,
        summary="a package is for an architecture that the system does not have",
        why="To install NAME:i386, list i386 in [debian] architectures.",
        check=check_architecture,
    ),
    Lint(
        name="packages-unmet",
        severity=Severity.FATAL,
        summary="the packages cannot be installed together",
        why="apt finds no solution: a dependency is missing, or two packages conflict. The message "
        "has apt's reasons.",
        check=check_unmet,
        needs=(FactKind.LISTS,),
    ),
    Lint(
        name="removed-unknown",
        severity=Severity.WARNING,
        summary="a package in [packages] remove does not exist",
        why="The entry has no effect; the name is probably misspelt.",
        check=check_removed,
        needs=(FactKind.LISTS,),
    ),
    Lint(
        name="dkms-without-headers",
        severity=Severity.FATAL,
        summary="a kernel module has to be built, but the kernel's headers are not installed",
        why="DKMS builds modules for the kernel of the image while the image is built; without "
        "headers this fails, and the build with it.",
        check=check_dkms_headers,
        needs=(FactKind.PLAN,),
    ),
    Lint(
        name="modules-unsigned",
        severity=Severity.WARNING,
        summary="modules built by DKMS do not load under Secure Boot",
        why="Under Secure Boot the kernel loads only signed modules, and Debian signs only the "
        "modules that it builds itself.",
        check=check_unsigned_modules,
        needs=(FactKind.PLAN,),
    ),
    Lint(
        name="locales-missing",
        severity=Severity.FATAL,
        summary="a locale is requested, but the package locales is not installed",
        why="The package locales generates every locale except C and C.UTF-8.",
        check=check_locales,
        needs=(FactKind.PLAN,),
    ),
    Lint(
        name="time-zones-missing",
        severity=Severity.FATAL,
        summary="a time zone is requested, but the package tzdata is not installed",
        why="tzdata has the time zones.",
        check=check_time_zone,
        needs=(FactKind.PLAN,),
    ),
    Lint(
        name="repository-unsigned",
        severity=Severity.FATAL,
        summary="a repository has no signing key",
        why="apt refuses packages that are not signed with a key that it has.",
        check=check_key,
    ),
    Lint(
        name="suite-moves",
        severity=Severity.WARNING,
        summary="the suite's name will point to another release one day",
        why="stable, testing and unstable mean another Debian one day, and a lock that is updated "
        "then brings all of it at once.",
        check=check_suite,
    ),
)
