"""Checks for bases, variants, conditions, publishing and a machine's policy. Pure."""

from __future__ import annotations

import re

from atoll.base.errors import UsageError
from atoll.base.fields import Flaw, suggest
from atoll.recipe.language.check_packages import check_architecture, check_suite
from atoll.recipe.language.check_values import check_image_name, has_control, is_path

CONDITIONS = ("architecture", "suite", "variant")
"""What ``[when]`` can test."""

_IMAGE_FORMS = ("docker://", "oci:", "oci-archive:", "store:")
_BASE_HINT = 'write: from = "debian:trixie"'
_ATOLLS_LABELS = (
    "dev.atoll.",
    "org.opencontainers.image.title",
    "org.opencontainers.image.version",
    "org.opencontainers.image.created",
)
_CALENDAR_WORDS = (
    "minutely",
    "hourly",
    "daily",
    "weekly",
    "monthly",
    "quarterly",
    "semiannually",
    "yearly",
    "annually",
)
_CALENDAR = r"(?:[A-Z][a-z]+[A-Za-z,.]* ?)?(?:[0-9*/,.~-]+ ?)?(?:[0-9*/,.:]+)?(?: [A-Za-z/_+-]+)?"


def is_local(text: str) -> bool:
    """Whether a text is a local path, where it could also be something else."""
    return text.startswith(("./", "../", "/"))


def is_local_base(text: str) -> bool:
    """Whether ``from`` refers to a local file or directory."""
    return is_local(text) or text.startswith(("oci:", "oci-archive:"))


def check_from(text: str) -> Flaw | None:
    """A base: ``empty``, ``debian:SUITE``, a recipe's path, or an image reference."""
    if text == "empty":
        return None
    if text.startswith("debian:"):
        return check_suite(text.removeprefix("debian:"))
    if is_local(text):
        path, separator, variant = text.partition("#")
        if not is_path(path):
            return Flaw(f"{text!r} is not the path of a recipe", 'such as: from = "../base"')
        return check_variant(variant) if separator else None
    if text.startswith(_IMAGE_FORMS):
        return _check_reference(text)
    if "/" in text and "://" not in text and _check_reference(text) is None:
        return Flaw(f"{text!r} is not a base for a system", f'write: from = "docker://{text}"')
    return Flaw(f"{text!r} is not a base for a system", _BASE_HINT)


def check_include(text: str) -> Flaw | None:
    if is_local(text) and is_path(text):
        return None
    hint = "it begins with ./ or ../, such as: ./common.toml"
    return Flaw(f"{text!r} is not a path of a file to include", hint)


def check_variant(text: str) -> Flaw | None:
    if check_image_name(text) is None and len(text) <= 32:
        return None
    hint = "small letters and digits, with single . _ or - between them, at most 32"
    return Flaw(f"{text!r} cannot name a variant", hint)


def parse_condition(text: str) -> tuple[tuple[str, str], ...]:
    """Parse ``architecture=arm64,variant=kde`` into pairs, in the same order."""
    pairs = (part.partition("=") for part in text.split(","))
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)


def check_condition(text: str) -> Flaw | None:
    """A condition of ``[when]``."""
    pairs = parse_condition(text)
    for name, value in pairs:
        if name not in CONDITIONS:
            hint = f'{suggest(name, CONDITIONS)}; such as: [when."architecture=arm64"]'
            return Flaw(f"{name!r} is not a condition", hint)
        flaw = _CONDITION_CHECKS[name](value)
        if flaw:
            return flaw
    if len({name for name, _ in pairs}) < len(pairs):
        return Flaw(f"{text!r} has the same condition twice")
    return None


_CONDITION_CHECKS = {
    "architecture": check_architecture,
    "suite": check_suite,
    "variant": check_variant,
}


def check_label(text: str) -> Flaw | None:
    """A label that Atoll does not write itself."""
    if text.startswith(_ATOLLS_LABELS):
        return Flaw(f"{text} is written by Atoll itself", "take it out")
    if re.fullmatch(r"[a-z0-9](?:[a-z0-9._/-]*[a-z0-9])?", text):
        return None
    hint = "such as: org.opencontainers.image.source"
    return Flaw(f"{text!r} cannot name a label", hint)


def check_etc_pattern(text: str) -> Flaw | None:
    from atoll.tree.etc_rules import parse_rule

    try:
        parse_rule(text, "merge")
    except UsageError as error:
        return Flaw(error.message, error.hint)
    return Flaw("has a NUL character or a line break in it") if has_control(text) else None


def check_var_path(text: str) -> Flaw | None:
    from atoll.recipe.language.check_paths import check_absolute

    flaw = check_absolute(text)
    if flaw is None and not text.startswith("/var/"):
        return Flaw(f"{text} is not below /var", "such as: /var/lib/app")
    return flaw


def check_image(text: str) -> Flaw | None:
    """An image reference, as ``oci.reference`` parses it."""
    return _check_reference(text)


def check_publish_to(text: str) -> Flaw | None:
    """A registry or layout, without a tag."""
    from atoll.oci.reference import LayoutReference, RegistryReference, parse_reference

    try:
        reference = parse_reference(text)
    except UsageError as error:
        return Flaw(error.message, error.hint)
    if not isinstance(reference, LayoutReference | RegistryReference):
        return Flaw(f"{text} is not a destination for publishing", "docker://HOST/NAME or oci:DIR")
    if reference.tag or getattr(reference, "digest", None):
        return Flaw(f"{text} has a tag", "tags are the image's version and: tags = […]")
    return None


def check_tag(text: str) -> Flaw | None:
    from atoll.oci.reference import check_tag as check

    try:
        check(text)
    except UsageError as error:
        return Flaw(error.message, error.hint)
    return None


def check_calendar(text: str) -> Flaw | None:
    """The shape of a calendar expression (systemd.time(7)); systemd itself checks the rest."""
    if text in _CALENDAR_WORDS or (text.strip() and re.fullmatch(_CALENDAR, text)):
        return None
    return Flaw(
        f"{text!r} is not a systemd calendar time",
        "such as: daily, Sun 03:00; see: systemd.time(7)",
    )


def check_remote_name(text: str) -> Flaw | None:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text):
        return None
    return Flaw(f"{text!r} cannot name a remote", "such as: flathub")


def check_app(text: str) -> Flaw | None:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+){2,}(?://[A-Za-z0-9._-]+)?", text):
        return None
    return Flaw(
        f"{text!r} is not a Flatpak reference", "such as: org.gnome.Calculator, org.x.App//stable"
    )


def check_box_name(text: str) -> Flaw | None:
    if re.fullmatch(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", text) and len(text) <= 63:
        return None
    hint = "small letters and digits, with single . _ or - between them, at most 63"
    return Flaw(f"{text!r} cannot name a box", hint)


def check_box_package(text: str) -> Flaw | None:
    """A package of any distribution, not only Debian's."""
    if re.fullmatch(r"[A-Za-z0-9@][A-Za-z0-9@+._:/~=-]*", text):
        return None
    return Flaw(f"{text!r} is not a package name")


def _check_reference(text: str) -> Flaw | None:
    from atoll.oci.reference import parse_reference

    try:
        parse_reference(text)
    except UsageError as error:
        return Flaw(error.message, error.hint)
    return None
