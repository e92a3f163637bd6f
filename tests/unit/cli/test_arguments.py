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
