"""Lints of systemd units: whether enabled, masked and changed units exist."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from atoll.lint.model import FactKind, Finding, Lint, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.lint.model import LintSubject, ShippedPaths

_SYSTEM = ("/usr/lib/systemd/system/", "/etc/systemd/system/")
_USER = ("/usr/lib/systemd/user/", "/etc/systemd/user/", "/usr/share/systemd/user/")
_OF_SYSTEMD = re.compile(r"-\.(mount|slice)|.*\.(slice|scope|device|mount|swap)|dbus\.service")
"""Units that need no unit file, or that systemd generates."""
_OF_LINKS = re.compile(
    r"(/usr/lib|/etc|/usr/local/lib)/systemd/(system|user)/[^/]+\.(wants|requires|upholds)/[^/]+"
)
"""Paths that must be symbolic links to units, by systemd.unit(5)."""


def check_enabled(subject: LintSubject) -> Iterator[Finding]:
    units, health = subject.recipe.units, subject.recipe.health
    wanted = (
        ("units.enable", units.enable, _SYSTEM),
        ("units.user.enable", units.user_enable, _USER),
        ("health.units", health.units, _SYSTEM),
    )
    for key, names, directories in wanted:
        for name in names:
            if not _is_known(name, subject, directories):
                yield Finding(
                    message=f"there is no unit {name}",
                    hint=_near(name, subject, directories),
                    key=key,
                    value=name,
                )


def check_pointless(subject: LintSubject) -> Iterator[Finding]:
    units = subject.recipe.units
    named = (
        ("units.disable", units.disable, _SYSTEM),
        ("units.mask", units.mask, _SYSTEM),
        ("units.user.disable", units.user_disable, _USER),
        ("units.user.mask", units.user_mask, _USER),
        ("units.dropin", tuple(unit for unit, _ in units.dropins), _SYSTEM),
    )
    for key, names, directories in named:
        for name in names:
            if not _is_known(name, subject, directories):
                yield Finding(
                    message=f"there is no unit {name}, so this changes nothing",
                    hint=_near(name, subject, directories),
                    key=key,
                    value=name,
                )


def check_links(subject: LintSubject) -> Iterator[Finding]:
    for file in subject.recipe.files:
        if file.link is None and _OF_LINKS.fullmatch(file.path):
            name = file.path.rpartition("/")[2]
            yield Finding(
                message=f"{file.path} is a file, but systemd needs a link there",
                hint=f'write [units] enable = ["{name}"], or link = "../{name}"',
                key="file.path",
                value=file.path,
            )


def _is_known(name: str, subject: LintSubject, directories: tuple[str, ...]) -> bool:
    contents = subject.facts.contents
    assert contents is not None
    paths = {file.path for file in subject.recipe.files}
    names = {name, re.sub(r"@[^.]*\.", "@.", name)}
    if any(
        directory + each in contents.owners or directory + each in paths
        for directory in directories
        for each in names
    ):
        return True
    script = "/etc/init.d/" + name.removesuffix(".service")
    return (
        (directories is _SYSTEM and script in contents.owners)
        or bool(_OF_SYSTEMD.fullmatch(name))
        or not contents.whole
    )


def _near(name: str, subject: LintSubject, directories: tuple[str, ...]) -> str:
    import difflib

    contents = subject.facts.contents
    assert contents is not None
    near = difflib.get_close_matches(name, sorted(_all(contents, directories)), n=1, cutoff=0.7)
    return f"did you mean {near[0]}?" if near else "install the package that ships it"


def _all(contents: ShippedPaths, directories: tuple[str, ...]) -> set[str]:
    return {
        path.rpartition("/")[2]
        for path in contents.owners
        for directory in directories
        if path.startswith(directory) and "/" not in path.removeprefix(directory)
    }


LINTS = (
    Lint(
        name="unit-unknown",
        severity=Severity.FATAL,
        summary="an enabled unit, or one in [health], is in none of the packages",
        why="The build fails, because a missing unit cannot be enabled; a missing unit in [health] "
        "makes every boot count as failed.",
        check=check_enabled,
        needs=(FactKind.CONTENTS,),
    ),
    Lint(
        name="unit-pointless",
        severity=Severity.WARNING,
        summary="a disabled, masked or changed unit is in none of the packages",
        why="This has no effect. The name is probably misspelt, or its package is no longer there.",
        check=check_pointless,
        needs=(FactKind.CONTENTS,),
    ),
    Lint(
        name="unit-not-linked",
        severity=Severity.FATAL,
        summary="a regular file is where systemd needs a link to a unit",
        why="systemd ignores regular files in the directories X.wants, X.requires and X.upholds: "
        "only links there start with X.",
        check=check_links,
    ),
)
