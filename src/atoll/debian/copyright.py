"""Machine-readable copyright files (DEP-5) of packages, and their licences as SPDX expressions.

Only the header and the ``License`` fields are read. A licence that SPDX does not have becomes a
``LicenseRef`` with a digest of its text, as the same short name often stands for different texts.
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
    """An SPDX licence expression; ``texts`` are those of the LicenseRefs in it, by name."""

    expression: str
    texts: Mapping[str, str]


def parse_copyright(text: str) -> Licences | None:
    """The licences of all files of a package; None if the file is not machine-readable."""
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
    """The short name in a License field, cut to a length that no valid name exceeds."""
    return " ".join(field.partition("\n")[0][:_LONGEST_NAME].split())


def _terms(name: str, texts: Mapping[str, str], refs: dict[str, str]) -> list[str]:
    """The terms of a short name such as ``GPL-2+ or Artistic, and Expat``, all of which apply.

    By DEP-5, "and" binds tighter than "or", and a comma binds less than both. ``refs`` receives the
    texts of licences that SPDX does not have.
    """
    parts = _JOINT.split(name)
    leaves, joints = parts[::2], parts[1::2]
    if not all(leaf.strip() for leaf in leaves):
        return [_add_reference(name, texts.get(name, ""), refs)]
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
                f"({one})" if " " in one and len(sides) > 1 else one
                for one in _merge_alternatives(side)
            )
            for side in sides
        ]
        return [_join(joined, is_or)]
    return [term for side in sides for term in _merge_alternatives(side)]


def _merge_alternatives(side: list[list[str]]) -> list[str]:
    """The terms of one side of a comma: alternatives form one term, otherwise each is its own."""
    if len(side) == 1:
        return side[0]
    return [" OR ".join(sorted({" AND ".join(sorted(set(each))) for each in side}))]


def _join(sides: list[str], is_or: list[bool]) -> str:
    """Join the sides of commas from the left, with parentheses that keep their grouping."""
    text = f"({sides[0]})" if " " in sides[0] else sides[0]
    for alternative, side in zip(is_or, sides[1:], strict=True):
        side = f"({side})" if " " in side else side
        text = f"{text} {'OR' if alternative else 'AND'} {side}"
    return text


def _term(name: str, texts: Mapping[str, str], refs: dict[str, str]) -> str:
    name = name.strip()
    return find_spdx(name) or _add_reference(name, texts.get(name, ""), refs)


def find_spdx(name: str) -> str | None:
    """The SPDX identifier of the licence that Debian calls ``name``; None if SPDX has none."""
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


def _add_reference(name: str, text: str, refs: dict[str, str]) -> str:
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")[:60] or "unnamed"
    digest = sha256(f"{name}\n{text}".encode(errors="surrogateescape")).hexdigest()
    found = f"LicenseRef-{plain}-{digest[:8]}"
    refs[found] = text or f"{name}: see the copyright files of the packages that name it."
    return found
