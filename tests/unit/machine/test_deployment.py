"""deployment.json and origin.toml: read as written, and never trusted blindly."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import Damaged
from atoll.base.ids import TreeId
from atoll.machine.deployment import (
    Deployment,
    Origin,
    format_deployment,
    format_origin,
    parse_deployment,
    parse_origin,
)

DEPLOYMENT = Deployment(
    number=4, tree=TreeId("a" * 64), name="hello", version="1.2", kernel="6.12", pair="b" * 64
)


def test_a_deployment_is_read_as_it_was_written() -> None:
    assert parse_deployment(format_deployment(DEPLOYMENT), where="here") == DEPLOYMENT


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60))
def test_an_origin_is_read_as_it_was_written(image: str) -> None:
    assert parse_origin(format_origin(Origin(image=image)), where="here") == Origin(image=image)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"number": 0},
        {"number": True},
        {"number": "1"},
        {"tree": "A" * 64},
        {"tree": None},
        {"pair": "../etc"},
        {"algorithm": "sha512"},
        {"version": 1},
    ],
)
def test_a_wrong_deployment_is_damaged(change: dict[str, object]) -> None:
    document = json.loads(format_deployment(DEPLOYMENT)) | change
    with pytest.raises(Damaged, match="here"):
        parse_deployment(json.dumps(document).encode(), where="here")


@pytest.mark.parametrize("data", [b"", b"[]", b"nonsense", b"\xff", b"null"])
def test_what_is_no_deployment_is_damaged(data: bytes) -> None:
    with pytest.raises(Damaged, match="here"):
        parse_deployment(data, where="here")


@pytest.mark.parametrize("data", [b"", b"image = 1", b"image", b"\xff"])
def test_what_is_no_origin_is_damaged(data: bytes) -> None:
    with pytest.raises(Damaged, match="here"):
        parse_origin(data, where="here")
