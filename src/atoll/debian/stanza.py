"""Control data of packages: fields of a stanza, and which packages need which.

A dependency is judged by names alone. Versions were judged by apt when the packages were chosen;
what is asked here is only who is needed among packages that fit together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atoll.debian.deb822 import parse_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_NAME_IN_DEPENDENCY = re.compile(r"\s*([a-zA-Z0-9][a-zA-Z0-9+.-]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stanza:
    """One package as its control data describes it. ``text`` ends without a line break."""

    text: str
    fields: Mapping[str, str] = field(repr=False)

    @property
    def name(self) -> str:
        return self.fields.get("package", "")

    @property
    def architecture(self) -> str:
        return self.fields.get("architecture", "")

    @property
    def version(self) -> str:
        return self.fields.get("version", "")

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.architecture

    @property
    def essential(self) -> bool:
        return self.fields.get("essential") == "yes"

    def provides(self) -> tuple[str, ...]:
        return tuple(names[0] for names in parse_relation(self.fields.get("provides", "")))

    def needs(self, *, recommends: bool = False) -> Iterator[tuple[str, ...]]:
        """Each dependency, as the names of its alternatives."""
        for kind in ("pre-depends", "depends", *(("recommends",) if recommends else ())):
            yield from parse_relation(self.fields.get(kind, ""))


def parse_stanza(text: str) -> Stanza:
    """The control data of one package."""
    return Stanza(text=text.strip("\n"), fields=parse_fields(text))


def parse_relation(text: str) -> Iterator[tuple[str, ...]]:
    """The names in a field such as Depends, for each of its parts."""
    for part in text.replace("\n", " ").split(","):
        found = (_NAME_IN_DEPENDENCY.match(word) for word in part.split("|"))
        names = tuple(match.group(1) for match in found if match)
        if names:
            yield names


def closure(
    stanzas: Iterable[Stanza], roots: Iterable[tuple[str, str]], *, recommends: bool = False
) -> frozenset[tuple[str, str]]:
    """``roots`` and all among ``stanzas`` that they need, as (name, architecture).

    Every alternative of a dependency that is there counts as needed.
    """
    all_of_them = {stanza.key: stanza for stanza in stanzas}
    providers: dict[str, list[Stanza]] = {}
    for stanza in all_of_them.values():
        for name in (stanza.name, *stanza.provides()):
            providers.setdefault(name, []).append(stanza)
    found: set[tuple[str, str]] = set()
    waiting = [key for key in roots if key in all_of_them]
    while waiting:
        key = waiting.pop()
        if key in found:
            continue
        found.add(key)
        for names in all_of_them[key].needs(recommends=recommends):
            for name in names:
                near = (one for one in providers.get(name, []) if _fits(key[1], one))
                waiting += [one.key for one in near]
    return frozenset(found)


def _fits(architecture: str, other: Stanza) -> bool:
    """Whether ``other`` may help a package of ``architecture``; "all" stands with everyone."""
    return (
        "all" in (architecture, other.architecture)
        or architecture == other.architecture
        or other.fields.get("multi-arch") in ("foreign", "allowed")
    )
