"""Licences in copyright files become SPDX expressions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.debian.copyright import find_spdx, parse_copyright

HEAD = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"


def expression(*names: str) -> str:
    files = "".join(f"\nFiles: {name}\nCopyright: x\nLicense: {name}\n" for name in names)
    found = parse_copyright(HEAD + files)
    assert found is not None
    return found.expression


@pytest.mark.parametrize(
    ("name", "spdx"),
    [
        ("GPL-2+", "GPL-2.0-or-later"),
        ("GPL-3", "GPL-3.0-only"),
        ("GPL-3.0-or-later", "GPL-3.0-or-later"),
        ("LGPL-2.1+", "LGPL-2.1-or-later"),
        ("Expat", "MIT"),
        ("BSD-3-clause", "BSD-3-Clause"),
        ("Apache-2.0", "Apache-2.0"),
        ("GPL-4", None),
        ("LGPL-1", None),
        ("Artistic", None),
    ],
)
def test_names(name: str, spdx: str | None) -> None:
    assert find_spdx(name) == spdx


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("GPL-2+",), "GPL-2.0-or-later"),
        (("Expat", "GPL-2", "Expat"), "GPL-2.0-only AND MIT"),
        (("GPL-2 or Expat", "ISC"), "(GPL-2.0-only OR MIT) AND ISC"),
        (("Expat and ISC", "ISC"), "ISC AND MIT"),
        (("LGPL-2.0-or-later",), "LGPL-2.0-or-later"),
        (("GPL-2+ and Expat or ISC",), "GPL-2.0-or-later AND MIT OR ISC"),
        (("GPL-2 or GPL-3, and Expat",), "(GPL-2.0-only OR GPL-3.0-only) AND MIT"),
        (("GPL-2, or Expat and ISC",), "GPL-2.0-only OR (MIT AND ISC)"),
    ],
)
def test_expressions(names: tuple[str, ...], found: str) -> None:
    assert expression(*names) == found


def test_what_spdx_does_not_know_brings_its_text() -> None:
    text = HEAD + "\nFiles: *\nLicense: Odd one\n Do\n .\n odd.\n\nFiles: x\nLicense: Bare\n"
    found = parse_copyright(text)
    assert found is not None
    bare, odd = sorted(found.texts)
    assert found.expression == f"{bare} AND {odd}"
    assert odd.startswith("LicenseRef-Odd-one-")
    assert found.texts[odd] == "Do\n.\nodd."
    assert "Bare" in found.texts[bare]


@pytest.mark.parametrize("text", ["", "This package was debianized by hand.", HEAD, "Format: x\n"])
def test_what_is_no_machine_readable_file(text: str) -> None:
    assert parse_copyright(text) is None


def test_very_long_names_take_no_time() -> None:
    for name in ("x" + " " * 300_000 + "y", "a, " * 100_000, "(" * 300_000):
        assert parse_copyright(f"{HEAD}\nFiles: *\nLicense: {name}\n") is not None


@given(st.text())
def test_nothing_stops_it(text: str) -> None:
    parse_copyright(text)
    parse_copyright(f"{HEAD}\nFiles: *\nLicense: {text}\n")
