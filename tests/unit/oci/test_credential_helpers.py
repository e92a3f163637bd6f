"""Credential helpers and certificate directories: used as podman does, within bounds."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import Damaged, MissingPrivilege, MissingProgram
from atoll.oci.certificates import find_certificates, trust_for
from atoll.oci.credential_helpers import ask_helper, parse_answer
from atoll.oci.credentials import find_credentials, parse_credentials
from atoll.oci.endpoints import parse_helpers, parse_rules

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path


def helper(home: Path, script: str, name: str = "ours") -> None:
    path = home / "bin" / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def answering(user: str, secret: str) -> str:
    return f"cat >/dev/null; echo '{json.dumps({'Username': user, 'Secret': secret})}'"


def test_a_helper_is_asked_for_the_host(home: Path) -> None:
    helper(home, """read -r host; echo "{\\"Username\\": \\"$1\\", \\"Secret\\": \\"$host\\"}" """)
    found = ask_helper("ours", "h.example:5000")
    assert found is not None
    assert (found.user, found.password) == ("get", "h.example:5000")


def test_a_helper_that_knows_nothing(home: Path) -> None:
    helper(home, "echo credentials not found in native keychain; exit 1")
    assert ask_helper("ours", "h.example") is None


@pytest.mark.parametrize(
    "script",
    [
        "echo top-secret; echo top-secret >&2; exit 1",
        "echo top-secret",
        "echo '[\"top-secret\"]'",
        "yes top-secret",
        "echo top-secret; sleep 60",
        "trap '' TERM; echo top-secret; cat; sleep 60",
        "kill -9 $$",
        ":",
        answering("<token>", "top-secret"),
    ],
)
def test_a_helper_that_fails_is_named_and_its_words_are_not_shown(home: Path, script: str) -> None:
    helper(home, script)
    with pytest.raises(MissingPrivilege, match="docker-credential-ours") as caught:
        ask_helper("ours", "h.example", seconds=0.5)
    assert "top-secret" not in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.__cause__ is None


@pytest.mark.usefixtures("home")
def test_a_helper_that_is_not_there() -> None:
    with pytest.raises(MissingProgram, match="docker-credential-ours"):
        ask_helper("ours", "h.example")
    for name in ("../x", "a/b", "", "a\nb", "-x"):
        with pytest.raises(Damaged, match="cannot be the name"):
            ask_helper(name, "h.example")


def test_the_order_is_podmans(home: Path) -> None:
    helper(home, answering("helper", "1"))
    helper(home, answering("store", "2"), "store")
    path = home / "auth.json"
    environment = {"REGISTRY_AUTH_FILE": str(path)}
    auth = "YXV0aDp4"
    path.write_text(
        json.dumps(
            {
                "auths": {
                    "a.example": {"auth": auth},
                    "b.example": {"auth": auth},
                    "c.example": {},
                },
                "credHelpers": {"a.example": "ours"},
                "credsStore": "store",
            }
        )
    )
    found = {}
    for host in ("a.example", "b.example", "c.example"):
        credentials = find_credentials(host, "x", environment)
        assert credentials is not None
        found[host] = credentials.user
    assert found == {"a.example": "helper", "b.example": "auth", "c.example": "store"}
    path.write_text("{}")
    assert find_credentials("a.example", "x", environment) is None
    credentials = find_credentials(
        "a.example", "x", environment, helpers=("containers-auth.json", "ours")
    )
    assert credentials is not None
    assert credentials.user == "helper"


@given(st.binary(max_size=80))
def test_any_answer_of_a_helper_is_credentials_or_none(answer: bytes) -> None:
    assert parse_answer(answer) is None


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=6) | st.just("YTpi"),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["auths", "auth", "credHelpers", "credsStore", "h", "Username", "Secret"]
            ),
            below,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(JSON)
def test_any_json_is_credentials_or_damaged(value: object) -> None:
    data = json.dumps(value).encode()
    parse_answer(data)
    with suppress(Damaged):
        parse_credentials(data, where="x").find("h", "x")


@given(st.text(alphabet='registy="[]\n.credntial-hps1{}', max_size=60))
def test_any_text_is_rules_or_damaged(text: str) -> None:
    for parse in (parse_rules, parse_helpers):
        with suppress(Damaged):
            parse(text.encode(), where="x")


def test_the_first_folder_of_certificates_counts_and_pairs_are_whole(tmp_path: Path) -> None:
    folder = tmp_path / "containers" / "certs.d" / "h.example:5000"
    folder.mkdir(parents=True)
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    for name in ("b.crt", "a.crt", "me.cert", "me.key", "README"):
        (folder / name).touch()
    found = find_certificates("h.example:5000", environment)
    assert [path.name for path in found.authorities] == ["a.crt", "b.crt"]
    assert [(one.name, two.name) for one, two in found.identities] == [("me.cert", "me.key")]
    assert not find_certificates("h.example", environment).authorities
    (folder / "me.key").unlink()
    with pytest.raises(Damaged, match=r"no matching me\.key"):
        find_certificates("h.example:5000", environment)


def test_a_client_certificate_is_for_its_registry_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from atoll.host.address import ServerOrigin

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for place in ("a.example", "b.example"):
        folder = tmp_path / "containers" / "certs.d" / place
        folder.mkdir(parents=True)
        for name in ("ca.crt", "me.cert", "me.key"):
            (folder / name).touch()
    trust_of = trust_for("a.example", insecure=True)
    own = trust_of(ServerOrigin("https", "a.example", 443))
    assert own.identities
    assert own.unverified
    for host, port in (("a.example", 444), ("b.example", 443), ("a.example.", 443)):
        other = trust_of(ServerOrigin("https", host, port))
        assert not other.identities
        assert other.unverified is (host == "a.example")
