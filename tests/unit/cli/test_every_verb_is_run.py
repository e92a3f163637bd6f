"""Each verb is run by a test: three verbs once had help, pages and completion, but nobody had run
them, and one of them always failed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from atoll.cli.main import VERBS

TESTS = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def texts() -> tuple[str, ...]:
    return tuple(
        path.read_text() for path in TESTS.rglob("*.py") if path != Path(__file__).resolve()
    )


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_a_test_runs_it(verb: str, texts: tuple[str, ...]) -> None:
    """As the first word of a list of arguments, or in a command line of a machine."""
    run = re.compile(rf'[(\[]"{verb}"|"atoll", "{verb}"|\batoll {verb}\b')
    assert any(run.search(text) for text in texts)
