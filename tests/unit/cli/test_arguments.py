"""Parsers of verbs, and of verbs within a verb."""

from __future__ import annotations

import pytest

from atoll.base.errors import UsageError
from atoll.cli.arguments import Parser


def nested() -> Parser:
    parser = Parser(prog="atoll tree")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("digest", help="print a digest").add_argument("path")
    return parser


@pytest.mark.parametrize("words", ["--quiet digest x", "digest --quiet x", "digest x --quiet"])
def test_quiet_can_stand_anywhere(words: str) -> None:
    assert nested().parse_args(words.split()).quiet is True


@pytest.mark.parametrize(
    ("words", "hint"),
    [("", "see: atoll tree --help"), ("digest", "see: atoll tree digest --help")],
)
def test_mistakes_name_the_help_to_read(words: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        nested().parse_args(words.split())
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("words", "out"),
    [
        ("image", None),
        ("image out", "out"),
        ("image --size 8G out", "out"),
        ("--size 8G image --live out --quiet", "out"),
        ("image --live", None),
    ],
)
def test_a_word_that_may_be_missing_may_come_after_options(words: str, out: str | None) -> None:
    parser = Parser(prog="atoll disk")
    parser.add_argument("image")
    parser.add_argument("out", nargs="?")
    parser.add_argument("--size")
    parser.add_argument("--live", action="store_true")
    found = parser.parse_args(words.split())
    assert (found.image, found.out) == ("image", out)
    with pytest.raises(UsageError, match="unrecognized arguments: more"):
        parser.parse_args(["image", "--live", "out", "more"])
    with pytest.raises(UsageError, match=r"required: image|IMAGE"):
        parser.parse_args(["--live"])
    with pytest.raises(UsageError, match="unrecognized arguments: --liv") as caught:
        parser.parse_args(["image", "--liv"])
    assert "did you mean: --live" in (caught.value.hint or "")
