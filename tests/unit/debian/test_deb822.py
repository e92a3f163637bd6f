"""The reader of deb822 text: paragraphs, continuation lines, comments."""

from __future__ import annotations

from atoll.debian.deb822 import parse_fields, split_paragraphs


def test_paragraphs_end_at_blank_lines() -> None:
    assert split_paragraphs("A: 1\n\nB: 2\n \t\n\n\nC: 3\n") == ["A: 1", "B: 2", "C: 3"]
    assert split_paragraphs(" \n\n") == []


def test_fields_have_lower_case_names_and_joined_continuation_lines() -> None:
    text = "Package: a\nDescription:  one \n two: three\n\t.\n# Comment: no\n four\nPackage: b"
    assert parse_fields(text) == {"package": "b", "description": "one\ntwo: three\n.\nfour"}


def test_lines_that_are_no_field_are_ignored_with_their_continuation() -> None:
    assert parse_fields("stray\n more\nA: 1\n: 2\n 3\n") == {"a": "1"}
    assert parse_fields(" before any field\nA:") == {"a": ""}
