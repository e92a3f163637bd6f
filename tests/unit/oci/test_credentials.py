from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import Damaged
from atoll.oci.credentials import credential_files, find_credentials, parse_credentials

if TYPE_CHECKING:
    from pathlib import Path


def auths(**places: str) -> bytes:
    encoded = {
        name: {"auth": base64.b64encode(text.encode()).decode()} for name, text in places.items()
    }
    return json.dumps({"auths": encoded}).encode()


def test_the_longest_place_decides() -> None:
    found = parse_credentials(
        auths(**{"h.example": "a:1", "h.example/team": "b:2:3", "https://old.example/v1/": "c:4"}),
        where="x",
    )
    for host, repository, user in (
        ("h.example", "other/hello", "a"),
        ("h.example", "team/hello", "b"),
        ("h.example", "teams", "a"),
        ("old.example", "x", "c"),
    ):
        credentials = found.find(host, repository)
        assert credentials is not None
        assert credentials.user == user
    assert found.find("h.example:5000", "team/hello") is None
    team = found.find("h.example", "team")
    assert team is not None
    assert team.password == "2:3"


def test_the_first_file_that_knows_decides(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    assert find_credentials("h.example", "x", environment) is None
    run, config, docker = credential_files(environment)
    for path, text in ((docker, "docker:1"), (config, "config:1")):
        path.parent.mkdir(parents=True)
        path.write_bytes(auths(**{"h.example": text}))
    run.parent.mkdir(parents=True)
    run.write_bytes(auths(**{"other.example": "run:1"}))
    found = find_credentials("h.example", "x", environment)
    assert found is not None
    assert found.user == "config"
    named = environment | {"REGISTRY_AUTH_FILE": str(docker)}
    found = find_credentials("h.example", "x", named)
    assert found is not None
    assert found.user == "docker"


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"no",
        b'{"auths": 7}',
        b'{"auths": {"h": 7}}',
        b'{"auths": {"h": {"auth": "?"}}}',
        b'{"auths": {"h": {"auth": "c2VjcmV0"}}}',
        b"\xff",
    ],
)
def test_a_broken_file_is_named_and_not_shown(data: bytes) -> None:
    with pytest.raises(Damaged, match="/etc/x is not") as caught:
        parse_credentials(data, where="/etc/x")
    assert "secret" not in str(caught.value)


@given(st.binary(max_size=60))
def test_any_bytes_are_credentials_or_damaged(data: bytes) -> None:
    try:
        parse_credentials(data, where="x")
    except Damaged as error:
        assert error.__context__ is None or error.__suppress_context__
