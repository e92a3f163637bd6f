"""Checks for packages and their sources, in the form of ``check_values``. Pure."""

from __future__ import annotations

import re

from atoll.base.fields import Flaw, suggest
from atoll.recipe.language.check_values import has_control, is_path

SUITES = ("trixie", "forky", "duke", "stable", "testing", "sid", "unstable")
_OLD_SUITES = ("bookworm", "bullseye", "buster", "stretch", "jessie", "oldstable", "oldoldstable")
_SUITES_BESIDE = ("experimental", "rc-buggy")
_POCKETS = ("-backports", "-backports-sloppy", "-proposed-updates", "-security", "-updates")
ARCHITECTURES = (
    "amd64",
    "arm64",
    "armel",
    "armhf",
    "i386",
    "loong64",
    "mips64el",
    "ppc64el",
    "riscv64",
    "s390x",
)
_FOREIGN_NAMES = {"x86_64": "amd64", "x86": "i386", "aarch64": "arm64", "ppc64le": "ppc64el"}
SNAPSHOT = "{snapshot}"
"""The placeholder for the snapshot time in a mirror's URI."""

_DEBCONF_KINDS = (
    "boolean",
    "error",
    "multiselect",
    "note",
    "seen",
    "select",
    "string",
    "text",
    "title",
)
_PACKAGE = (
    r"(?P<name>[a-z0-9][a-z0-9+.-]*)(?P<arch>:[a-z0-9][a-z0-9-]*)?"
    r"(?:=(?P<version>[^/]*)|/(?P<suite>[^=]*))?"
)
_VERSION = r"[0-9A-Za-z][0-9A-Za-z.+:~-]*"
_SUITE = r"[a-z][a-z0-9-]*"
_COMPONENT = r"[a-z][a-z0-9-]*(?:/[a-z0-9-]+)*"
_MIRROR = r"(?:https?://[A-Za-z0-9.\[\]:-]+|file://)(?:/[A-Za-z0-9._~%+:/-]*)?"


def is_local_package(text: str) -> bool:
    """Whether an item of packages.install is a local file."""
    return text.startswith(("./", "../", "/"))


def check_package(text: str) -> Flaw | None:
    """An argument of ``apt install``: NAME, NAME:ARCH, NAME=VERSION, NAME/SUITE or a local .deb."""
    if is_local_package(text):
        if not text.endswith(".deb") or not is_path(text):
            return Flaw(f"{text!r} is not a path of a .deb file")
        return None
    found = re.fullmatch(_PACKAGE, text)
    if not found or not _is_package_name(found["name"]):
        hint = "as apt writes them: NAME, NAME:ARCH, NAME=VERSION, NAME/SUITE, or ./FILE.deb"
        return Flaw(f"{text!r} is not a package", hint)
    if found["version"] is not None and not re.fullmatch(_VERSION, found["version"]):
        return Flaw(f"{found['version']!r} is not a package version", "see: apt policy NAME")
    if found["suite"] is not None and not re.fullmatch(_SUITE, found["suite"]):
        return Flaw(f"{found['suite']!r} is not a Debian suite", "such as: NAME/trixie-backports")
    return None


def check_removed_package(text: str) -> Flaw | None:
    """NAME or NAME:ARCH."""
    found = re.fullmatch(_PACKAGE, text)
    if found and _is_package_name(found["name"]) and not found["version"] and not found["suite"]:
        return None
    return Flaw(f"{text!r} is not a package name", "NAME or NAME:ARCH")


def package_name(text: str) -> str:
    """``NAME:ARCH`` of an apt argument, without version or suite; a local file is unchanged."""
    if is_local_package(text):
        return text
    return re.split("[=/]", text, maxsplit=1)[0]


def _is_package_name(name: str) -> bool:
    # Debian requires two characters; apt takes a minus at the end as "remove".
    return len(name) >= 2 and not name.endswith("-")


def check_component(text: str) -> Flaw | None:
    if re.fullmatch(_COMPONENT, text):
        return None
    return Flaw(
        f"{text!r} is not an archive component", "such as: main, contrib, non-free-firmware"
    )


def check_mirror(text: str) -> Flaw | None:
    """The URI of a Debian archive, which may contain ``{snapshot}``."""
    flaw = check_repository_uri(text.replace(SNAPSHOT, "0"))
    return check_repository_uri(text) if flaw else None


def check_repository_uri(text: str) -> Flaw | None:
    """The URI of a repository, without user or password."""
    if "@" in text.partition("://")[2].partition("/")[0]:
        hint = (
            "everyone who has the image can read the recipe; put the password into"
            " /etc/apt/auth.conf.d"
        )
        return Flaw("has a user or password in it", hint)
    if re.fullmatch(_MIRROR, text):
        return None
    return Flaw(f"{text!r} is not the URL of a mirror", "http://, https:// or file:/// and a path")


def check_suite(text: str) -> Flaw | None:
    """A Debian suite that a system can be built from."""
    if text in _OLD_SUITES:
        message = f"{text} is too old: the boot needs a kernel as new as Debian 13's"
        return Flaw(message, 'write: from = "debian:trixie"')
    if text not in SUITES:
        return Flaw(
            f"{text!r} is not a Debian suite that Atoll can build from", suggest(text, SUITES)
        )
    return None


def is_suite_of_debian(text: str) -> bool:
    """Whether single packages can be taken from it: a suite or one of its pockets."""
    stem = next((text.removesuffix(end) for end in _POCKETS if text.endswith(end)), text)
    return stem in SUITES or stem in _OLD_SUITES or text in _SUITES_BESIDE


def check_architecture(text: str) -> Flaw | None:
    if text in ARCHITECTURES:
        return None
    hint = suggest(_FOREIGN_NAMES.get(text, text), ARCHITECTURES)
    return Flaw(f"{text!r} is not a Debian architecture", hint)


def check_snapshot(text: str) -> Flaw | None:
    """A time as snapshot services write it."""
    from datetime import datetime

    try:
        if re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", text) and datetime.strptime(text, "%Y%m%dT%H%M%SZ"):
            return None
    except ValueError:
        pass
    return Flaw(f"{text!r} is not a snapshot time", "a time in UTC, such as: 20260820T000000Z")


def check_repository(text: str) -> Flaw | None:
    if len(text) <= 64 and re.fullmatch(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", text):
        return None
    hint = "small letters and digits, with single . _ or - between them, at most 64"
    return Flaw(f"{text!r} cannot name a repository", hint)


def check_repository_suite(text: str) -> Flaw | None:
    """A suite of a third-party repository, or a directory of a flat one, which ends in /."""
    if ".." not in text and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]*/?|\./|/", text):
        return None
    return Flaw(
        f"{text!r} is not a suite of a repository", "such as: stable, or ./ where all is flat"
    )


def check_version_pattern(text: str) -> Flaw | None:
    """A version; ``*`` at the end matches anything."""
    if re.fullmatch(_VERSION, text.removesuffix("*")) or text == "*":
        return None
    return Flaw(f"{text!r} is not a package version", "such as: 3.4.1-5, or 550.*")


def check_package_source(text: str) -> Flaw | None:
    if re.fullmatch(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", text):
        return None
    return Flaw(f"{text!r} is not a repository or suite", "such as: trixie-backports")


def check_debconf(text: str) -> Flaw | None:
    """A line for debconf-set-selections(1). Passwords are refused, and not shown in the message."""
    fields = text.split(None, 3)
    hint = "PACKAGE QUESTION TYPE VALUE, such as: tzdata tzdata/Areas select Europe"
    if has_control(text) or len(fields) < 3:
        return Flaw(f"{text!r} is not a debconf answer", hint)
    if fields[2] == "password":
        return Flaw("answers with a password; everyone who has the image can read the recipe")
    if fields[2] not in _DEBCONF_KINDS or not re.fullmatch(r"[A-Za-z0-9][!-~]*", fields[0]):
        return Flaw(f"{text!r} is not a debconf answer", hint)
    return None


def check_kernel_package(text: str) -> Flaw | None:
    if check_removed_package(text) is None and ":" not in text and text.startswith("linux-"):
        return None
    return Flaw(f"{text!r} is not a kernel package", "such as: linux-image-amd64")
