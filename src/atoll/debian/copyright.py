"""Machine-readable copyright files of packages (DEP-5), and their licences as SPDX calls them.

Only the header and the ``License`` fields matter here. A licence that SPDX does not know becomes a
``LicenseRef``, which carries a digest of the text, as the same short name often means other texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from atoll.debian.deb822 import parse_fields, split_paragraphs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_FORMAT = re.compile(r"https?://\S*copyright-format/1\.0/?")
_GNU = re.compile(r"(A?GPL|LGPL|GFDL)-?v?([123](?:\.[0123])?)(?:\.0)?(\+|-or-later|-only)?")
_GNU_KNOWN = {
    "AGPL": ("1.0", "3.0"),
    "GPL": ("1.0", "2.0", "3.0"),
    "LGPL": ("2.0", "2.1", "3.0"),
    "GFDL": ("1.1", "1.2", "1.3"),
}
_KNOWN = {
    name.lower(): spdx
    for spdx, names in {
        "MIT": "Expat MIT",
        "Apache-2.0": "Apache-2 Apache-2.0",
        "BSD-2-Clause": "BSD-2-clause",
        "BSD-3-Clause": "BSD-3-clause",
        "BSD-4-Clause": "BSD-4-clause",
        "0BSD": "0BSD",
        "ISC": "ISC",
        "Zlib": "Zlib",
        "MPL-1.1": "MPL-1.1",
        "MPL-2.0": "MPL-2 MPL-2.0",
        "CC0-1.0": "CC0 CC0-1.0",
        "CC-BY-3.0": "CC-BY-3.0",
        "CC-BY-4.0": "CC-BY-4.0",
        "CC-BY-SA-3.0": "CC-BY-SA-3.0",
        "CC-BY-SA-4.0": "CC-BY-SA-4.0",
        "BSL-1.0": "BSL-1.0 BSL-1",
        "OFL-1.1": "OFL-1.1 SIL-1.1",
        "Artistic-2.0": "Artistic-2 Artistic-2.0",
        "EPL-2.0": "EPL-2.0",
        "Unlicense": "Unlicense",
        "X11": "X11",
        "curl": "curl",
        "FTL": "FTL",
        "Python-2.0": "PSF-2 Python-2.0",
    }.items()
    for name in names.split()
}
_JOINT = re.compile(r"(,\s*(?:and|or)\s+|,\s*|\s+(?:and/or|and|or)\s+)", re.IGNORECASE)


_LONGEST_NAME = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Licences:
    """``expression`` is SPDX's; ``texts`` are those of the LicenseRefs in it, by their names."""

    expression: str
    texts: Mapping[str, str]


def parse_copyright(text: str) -> Licences | None:
    """The licences of all files of a package together; None for what is not machine-readable."""
    paragraphs = [parse_fields(part) for part in split_paragraphs(text)]
    if not paragraphs or not _FORMAT.fullmatch(paragraphs[0].get("format", "")):
        return None
    texts = dict(_texts(paragraphs))
    names = {
        _name_of(part["license"]) for part in paragraphs if "files" in part and "license" in part
    }
    refs: dict[str, str] = {}
    terms = sorted({term for name in names if name for term in _terms(name, texts, refs)})
    if not terms:
        return None
    wrapped = [f"({term})" if " OR " in term and len(terms) > 1 else term for term in terms]
    return Licences(expression=" AND ".join(wrapped), texts=refs)


def _texts(paragraphs: Iterable[Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    for part in paragraphs:
        _, _, text = part.get("license", "").partition("\n")
        name = _name_of(part.get("license", ""))
        if name and text.strip():
            yield name, text.strip()


def _name_of(field: str) -> str:
    """The short name in a field; one that is longer than any is cut."""
    return " ".join(field.partition("\n")[0][:_LONGEST_NAME].split())


def _terms(name: str, texts: Mapping[str, str], refs: dict[str, str]) -> list[str]:
    """What a short name such as ``GPL-2+ or Artistic, and Expat`` asks for, all of it together.

    A comma binds less than what it divides; ``refs`` gets the texts of what SPDX has no name for.
    """
    words = _JOINT.split(name)
    leaves, joints = words[::2], words[1::2]
    if not all(leaf.strip() for leaf in leaves):
        return [_reference(name, texts.get(name, ""), refs)]
    # Each side of a comma is a list of alternatives, each of which is a list of terms.
    sides: list[list[list[str]]] = [[[_term(leaves[0], texts, refs)]]]
    is_or: list[bool] = []
    for joint, leaf in zip(joints, leaves[1:], strict=True):
        term = _term(leaf, texts, refs)
        alternative = "or" in joint.lower()
        if "," in joint:
            sides.append([[term]])
            is_or.append(alternative)
        elif alternative:
            sides[-1].append([term])
        else:
            sides[-1][-1].append(term)
    if any(is_or):
        joined = [
            " AND ".join(
                f"({one})" if " " in one and len(sides) > 1 else one for one in _all_of(side)
            )
            for side in sides
        ]
        return [_joined(joined, is_or)]
    return [term for side in sides for term in _all_of(side)]


def _all_of(side: list[list[str]]) -> list[str]:
    """Alternatives as the one term that they are; without any, every term of its own."""
    if len(side) == 1:
        return side[0]
    return [" OR ".join(sorted({" AND ".join(sorted(set(each))) for each in side}))]


def _joined(sides: list[str], is_or: list[bool]) -> str:
    """From the left, so that parentheses say what commas said."""
    text = f"({sides[0]})" if " " in sides[0] else sides[0]
    for alternative, side in zip(is_or, sides[1:], strict=True):
        side = f"({side})" if " " in side else side
        text = f"{text} {'OR' if alternative else 'AND'} {side}"
    return text


def _term(name: str, texts: Mapping[str, str], refs: dict[str, str]) -> str:
    name = name.strip()
    return find_spdx(name) or _reference(name, texts.get(name, ""), refs)


def find_spdx(name: str) -> str | None:
    """What SPDX calls the licence that Debian calls ``name``; None where it has no name for it."""
    known = _KNOWN.get(name.lower())
    if known:
        return known
    match = _GNU.fullmatch(name)
    if match is None:
        return None
    family, version, later = match.groups()
    version = version if "." in version else f"{version}.0"
    if version not in _GNU_KNOWN[family]:
        return None
    return f"{family}-{version}-{'or-later' if later in ('+', '-or-later') else 'only'}"


def _reference(name: str, text: str, refs: dict[str, str]) -> str:
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")[:60] or "unnamed"
    digest = sha256(f"{name}\n{text}".encode(errors="surrogateescape")).hexdigest()
    found = f"LicenseRef-{plain}-{digest[:8]}"
    refs[found] = text or f"{name}: see the copyright files of the packages that name it."
    return found
