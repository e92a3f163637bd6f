"""Control data of packages: fields, and the dependencies between packages.

Dependencies are compared by name only. apt has already checked versions when it chose the packages;
here it only matters which of them need each other.
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
    """The control data of one package. ``text`` has no line break at its end."""

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
        """Name and architecture, which identify an installed package."""
        return self.name, self.architecture

    @property
    def essential(self) -> bool:
        return self.fields.get("essential") == "yes"

    def provides(self) -> tuple[str, ...]:
        """The names of virtual packages that it provides."""
        return tuple(names[0] for names in parse_relation(self.fields.get("provides", "")))

    def dependencies(self, *, recommends: bool = False) -> Iterator[tuple[str, ...]]:
        """Yield each dependency as the names of its alternatives."""
        for kind in ("pre-depends", "depends", *(("recommends",) if recommends else ())):
            yield from parse_relation(self.fields.get(kind, ""))


def parse_stanza(text: str) -> Stanza:
    """Parse the control data of one package."""
    return Stanza(text=text.strip("\n"), fields=parse_fields(text))


def parse_relation(text: str) -> Iterator[tuple[str, ...]]:
    """Parse a field such as Depends; yields the names of the alternatives of each relation."""
    for part in text.replace("\n", " ").split(","):
        found = (_NAME_IN_DEPENDENCY.match(alternative) for alternative in part.split("|"))
        names = tuple(match.group(1) for match in found if match)
        if names:
            yield names


def closure(
    stanzas: Iterable[Stanza], roots: Iterable[tuple[str, str]], *, recommends: bool = False
) -> frozenset[tuple[str, str]]:
    """``roots`` and their transitive dependencies among ``stanzas``, as (name, architecture).

    All alternatives of a dependency that are among ``stanzas`` count as needed.
    """
    by_key = {stanza.key: stanza for stanza in stanzas}
    providers: dict[str, list[Stanza]] = {}
    for stanza in by_key.values():
        for name in (stanza.name, *stanza.provides()):
            providers.setdefault(name, []).append(stanza)
    found: set[tuple[str, str]] = set()
    queue = [key for key in roots if key in by_key]
    while queue:
        key = queue.pop()
        if key in found:
            continue
        found.add(key)
        for names in by_key[key].dependencies(recommends=recommends):
            for name in names:
                matching = (one for one in providers.get(name, []) if _can_satisfy(key[1], one))
                queue += [one.key for one in matching]
    return frozenset(found)


def _can_satisfy(architecture: str, other: Stanza) -> bool:
    """Whether ``other`` may satisfy a dependency of a package for ``architecture``."""
    return (
        "all" in (architecture, other.architecture)
        or architecture == other.architecture
        or other.fields.get("multi-arch") in ("foreign", "allowed")
    )
