"""What apt shall prefer, as apt_preferences(5) wants it said."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from atoll.debian.deb822 import parse_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from atoll.debian.sources import AptSource

_FIELDS = (("origin", "o"), ("label", "l"), ("suite", "a"), ("codename", "n"))
_EXACTLY = 1001
"""Above 1000, so that an older version is taken, too."""
_RATHER = 995


def format_preferences(
    sources: Sequence[AptSource],
    releases: Mapping[str, str],
    *,
    versions: Iterable[tuple[str, str]],
    taken: Iterable[tuple[str, str]],
    local: Iterable[tuple[str, str]],
) -> str:
    """``releases`` holds the text of each source's Release file by the source's name; ``taken``
    says from which repository or suite a package comes; ``local`` are own files, which win."""
    paragraphs = [_paragraph(name, f"version {version}", _EXACTLY) for name, version in local]
    paragraphs += [_paragraph(name, f"version {version}", _EXACTLY) for name, version in versions]
    for name, place in taken:
        for source in sources:
            if place in (source.repository, source.suite, source.name):
                paragraphs.append(_paragraph(name, select(source, releases), _RATHER))
    for source in sources:
        if source.priority is not None:
            paragraphs.append(_paragraph("*", select(source, releases), source.priority))
    return "\n".join(paragraphs)


def select(source: AptSource, releases: Mapping[str, str]) -> str:
    """How a source is told from others: by what its Release file says, else by its host."""
    release = parse_fields(releases.get(source.name, ""))
    # a comma would end the value
    words = [
        f"{short}={release[name]}"
        for name, short in _FIELDS
        if release.get(name) and "," not in release[name]
    ]
    if words:
        return f"release {','.join(words)}"
    return f'origin "{urlsplit(source.uri).hostname or ""}"'


def _paragraph(package: str, pin: str, priority: int) -> str:
    return f"Package: {package}\nPin: {pin}\nPin-Priority: {priority}\n"
