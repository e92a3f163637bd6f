"""Write apt_preferences(5): pin priorities from the recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from atoll.debian.deb822 import parse_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from atoll.debian.sources import AptSource

_FIELDS = (("origin", "o"), ("label", "l"), ("suite", "a"), ("codename", "n"))
_EXACT = 1001
"""Above 1000, so that apt also downgrades to this version."""
_PREFERRED = 995


def format_preferences(
    sources: Sequence[AptSource],
    releases: Mapping[str, str],
    *,
    versions: Iterable[tuple[str, str]],
    taken: Iterable[tuple[str, str]],
    local: Iterable[tuple[str, str]],
) -> str:
    """The text of the preferences.

    ``releases`` has the text of each source's Release file by the source's name. ``versions`` pins
    (name, version). ``taken`` has (name, repository or suite) from which to take a package.
    ``local`` are name and version of local files, which win.
    """
    paragraphs = [_paragraph(name, f"version {version}", _EXACT) for name, version in local]
    paragraphs += [_paragraph(name, f"version {version}", _EXACT) for name, version in versions]
    for name, origin in taken:
        for source in sources:
            if origin in (source.repository, source.suite, source.name):
                paragraphs.append(_paragraph(name, select(source, releases), _PREFERRED))
    for source in sources:
        if source.priority is not None:
            paragraphs.append(_paragraph("*", select(source, releases), source.priority))
    return "\n".join(paragraphs)


def select(source: AptSource, releases: Mapping[str, str]) -> str:
    """The pin that selects one source: by fields of its Release file, else by its host."""
    release = parse_fields(releases.get(source.name, ""))
    # A comma would end the value.
    terms = [
        f"{short}={release[name]}"
        for name, short in _FIELDS
        if release.get(name) and "," not in release[name]
    ]
    if terms:
        return f"release {','.join(terms)}"
    return f'origin "{urlsplit(source.uri).hostname or ""}"'


def _paragraph(package: str, pin: str, priority: int) -> str:
    return f"Package: {package}\nPin: {pin}\nPin-Priority: {priority}\n"
