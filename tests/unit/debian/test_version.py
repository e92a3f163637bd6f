"""The order of versions: compared with dpkg, and the properties of a total order."""

from __future__ import annotations

import functools
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.debian.version import compare_versions

PIECES = st.sampled_from(
    ["0", "00", "1", "9", "10", "2026", "~", "~~", "+", ".", "a", "z", "A", "rc", "dfsg", "deb13u1"]
)
UPSTREAM = st.lists(PIECES, max_size=6).map(lambda parts: "1" + "".join(parts))
REVISION = st.one_of(st.just(""), st.lists(PIECES, min_size=1, max_size=4).map("".join))
VERSIONS = st.builds(
    lambda epoch, upstream, revision: epoch + upstream + (f"-{revision}" if revision else ""),
    st.sampled_from(["", "", "0:", "1:", "12:"]),
    st.one_of(UPSTREAM, st.builds("{}-{}".format, UPSTREAM, UPSTREAM)),
    REVISION,
)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.0~rc1", "1.0"),
        ("1.0", "1.0+b1"),
        ("1.9", "1.10"),
        ("9", "1:1"),
        ("1.0-1", "1.0-1+deb13u1"),
        ("1.0a", "1.0+"),
        ("1.0~~", "1.0~"),
        ("2.41-12", "2.41-12+b1"),
        ("1-1-1", "1-2-0"),
        ("1." + "9" * 5000, "1.1" + "0" * 5000),
    ],
)
def test_known_pairs(older: str, newer: str) -> None:
    assert compare_versions(older, newer) < 0 < compare_versions(newer, older)


@pytest.mark.parametrize(("one", "other"), [("1", "1-0"), ("0:1", "1"), ("1.00", "1.0"), ("", "")])
def test_equal_in_other_words(one: str, other: str) -> None:
    assert compare_versions(one, other) == 0 == compare_versions(other, one)


@given(st.text(), st.text(), st.text())
def test_any_text_has_its_place(one: str, two: str, three: str) -> None:
    assert compare_versions(one, one) == 0
    assert compare_versions(one, two) == -compare_versions(two, one)
    low, middle, high = sorted((one, two, three), key=functools.cmp_to_key(compare_versions))
    assert compare_versions(low, high) <= 0
    assert compare_versions(low, middle) <= 0


@pytest.mark.skipif(not shutil.which("dpkg"), reason="needs dpkg")
@given(VERSIONS, VERSIONS)
def test_dpkg_says_the_same(one: str, other: str) -> None:
    found = compare_versions(one, other)
    word = "eq" if not found else "lt" if found < 0 else "gt"
    words = ["dpkg", "--compare-versions", one, word, other]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), (one, word, other)
