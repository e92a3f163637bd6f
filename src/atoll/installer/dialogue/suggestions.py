"""Default values that the dialogue suggests, and shortened lists."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from atoll.installer.answers.checks import check_person
from atoll.recipe.language.check_values import check_hostname

if TYPE_CHECKING:
    from atoll.installer.settings.image_contents import ImageContents

_REGIONS = (
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Europe",
    "Indian",
    "Pacific",
)
"""tzdata has further names for each of them, of countries and from long ago."""


def suggest_user_name(full_name: str) -> str:
    """The first name in small letters of ASCII; empty where nothing is left of it."""
    first = full_name.split()[0] if full_name.split() else ""
    plain = unicodedata.normalize("NFKD", first).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9-]", "", plain).lstrip("-0123456789")
    return name if name and check_person(name) is None else ""


def suggest_host_name(image: str) -> str:
    name = image.split()[0] if image.split() else ""
    return name if name and check_hostname(name) is None else "atoll"


def find_regions(contents: ImageContents) -> tuple[str, ...]:
    """UTC first, then the cities."""
    names = [name for name in contents.timezones if name.partition("/")[0] in _REGIONS]
    return (*(["UTC"] if "UTC" in contents.timezones else []), *names)


def find_locale_names(contents: ImageContents) -> tuple[str, ...]:
    """Those with UTF-8, spelled as in locale.gen, that of the image first."""
    names = {
        re.sub(r"\.utf-?8", ".UTF-8", name, flags=re.IGNORECASE)
        for name in contents.locales
        if re.search(r"\.utf-?8", name, re.IGNORECASE)
    }
    found = re.search(r"^LANG=\"?([^\"\s]+)", contents.read("etc/locale.conf").decode(), re.M)
    own = [found[1]] if found and found[1] in names else []
    return (*own, *sorted(names - set(own)))
