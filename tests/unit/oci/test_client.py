"""Logins, indexes for several platforms, mirrors: the client with a well-behaved registry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import Damaged, MissingPrivilege, NotFound
from atoll.host.http import ByteRange, HttpClient, RetryPolicy
from atoll.oci.client import Challenge, RegistryClient, parse_challenge, parse_token
from atoll.oci.endpoints import Endpoint
from atoll.oci.login import Credentials
from atoll.oci.manifest import INDEX, MANIFEST, Descriptor, parse_index
from atoll.oci.platforms import choose_for_machine
from atoll.oci.reference import parse_reference
from atoll.oci.source import inspect_source, opened_source
from tests.fake_registry import Asked, FakeRegistry, Reply, digest_of, fake_registry
from tests.images import MadeImage, publish

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUICK = RetryPolicy(attempts=2, first_pause=0.001, longest_pause=0.002, timeout=2.0)
ME = Credentials(user="me", password="pass:word")
BEARER = 'Bearer realm="http://{}/token?x=1",service="reg",scope="repository:all:push"'


@pytest.fixture
def image(tmp_path: Path) -> MadeImage:
    return publish(tmp_path, {"/etc/file": b"content" * 9999})


@pytest.fixture
def registry(image: MadeImage, tmp_path: Path) -> Iterator[FakeRegistry]:
    assert image
    with fake_registry(tmp_path / "layout") as found:
        yield found


@pytest.fixture
def web() -> Iterator[HttpClient]:
    with HttpClient(retry=QUICK) as opened:
        yield opened


def client(
    registry: FakeRegistry, web: HttpClient, credentials: Credentials | None
) -> RegistryClient:
    endpoint = Endpoint(host=registry.address, repository="team/hello")
    return RegistryClient(endpoint, web, lambda: credentials)


def wants_token(registry: FakeRegistry, *, uses: int) -> None:
    """Each token is valid for a number of requests."""
    left = {"token": 0, "number": 0}

    def bend(asked: Asked, reply: Reply) -> Reply:
        if asked.path == "/token":
            left["token"] = uses
            left["number"] += 1
            return Reply(body=json.dumps({"token": f"t{left['number']}"}).encode())
        if asked.headers.get("authorization") == f"Bearer t{left['number']}" and left["token"]:
            left["token"] -= 1
            return reply
        challenge = BEARER.format(registry.address)
        return Reply(status=401, headers={"WWW-Authenticate": challenge})

    registry.bend = bend


def test_a_token_is_fetched_for_this_image_only(registry: FakeRegistry, web: HttpClient) -> None:
    wants_token(registry, uses=9)
    client(registry, web, ME).manifest("one")
    asked = next(each for each in registry.asked if each.path == "/token")
    assert asked.query == {
        "x": ["1"],
        "service": ["reg"],
        "scope": ["repository:team/hello:pull"],
    }
    assert asked.headers["authorization"] == ME.basic


def test_a_token_without_a_login(registry: FakeRegistry, web: HttpClient) -> None:
    wants_token(registry, uses=9)
    client(registry, web, None).manifest("one")
    asked = next(each for each in registry.asked if each.path == "/token")
    assert "authorization" not in asked.headers


def test_a_token_that_runs_out_is_fetched_again(
    registry: FakeRegistry, web: HttpClient, image: MadeImage
) -> None:
    wants_token(registry, uses=1)
    reader = client(registry, web, None)
    for _ in range(3):
        assert reader.manifest("one").digest == image.digest
    manifest = json.loads(reader.manifest("one").data)
    layer = manifest["layers"][0]
    blob = Descriptor(media_type="", digest=layer["digest"], size=layer["size"])
    assert digest_of(b"".join(reader.blob(blob, ByteRange(end=blob.size)))) == blob.digest


def test_a_password(registry: FakeRegistry, web: HttpClient, image: MadeImage) -> None:
    def bend(asked: Asked, reply: Reply) -> Reply:
        if asked.headers.get("authorization") == ME.basic:
            return reply
        return Reply(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})

    registry.bend = bend
    assert client(registry, web, ME).manifest("one").digest == image.digest
    other = Credentials(user="me", password="wrong")
    with pytest.raises(MissingPrivilege, match="rejects your credentials") as caught:
        client(registry, web, other).manifest("one")
    assert "wrong" not in str(caught.value)
    assert "wrong" not in repr(other)


def test_an_index_leads_to_this_machine(registry: FakeRegistry, image: MadeImage) -> None:
    def bend(asked: Asked, reply: Reply) -> Reply:
        if asked.manifest != "one":
            return reply
        manifests = [
            {
                "mediaType": MANIFEST,
                "digest": digest,
                "size": size,
                "platform": {"os": "linux", "architecture": architecture},
            }
            for digest, size, architecture in (
                (digest_of(b""), 0, "arm64"),
                (image.digest, len(honest), "amd64"),
            )
        ]
        body = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
        return Reply(body=json.dumps(body).encode())

    with HttpClient(retry=QUICK) as web:
        honest = client(registry, web, None).manifest("one").data
    registry.bend = bend
    reference = parse_reference(registry.reference())
    with opened_source(reference, architecture="amd64", retry=QUICK) as source:
        assert inspect_source(source).digest == image.digest
    with (
        opened_source(reference, architecture="riscv64", retry=QUICK) as source,
        pytest.raises(NotFound, match="linux/riscv64") as caught,
    ):
        inspect_source(source)
    assert caught.value.hint == "it has: linux/amd64, linux/arm64"


def test_mirrors_are_asked_first(
    registry: FakeRegistry, image: MadeImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = tmp_path / "registries.conf"
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(rules))
    with fake_registry(tmp_path / "layout") as mirror:
        rules.write_text(
            f'[[registry]]\nprefix="images.invalid"\nlocation="{registry.address}"\n'
            f'[[registry.mirror]]\nlocation="{mirror.address}"\n'
        )
        reference = parse_reference("docker://images.invalid/team/hello:one")
        with opened_source(reference, retry=QUICK) as source:
            assert inspect_source(source).digest == image.digest
            assert not registry.asked
            mirror.bend = lambda *_: Reply(status=404)
            assert inspect_source(source).digest == image.digest
            assert registry.asked


@pytest.mark.parametrize("manifests", [None, 7, [7], [{"digest": "x"}], [{"platform": 7}]])
def test_a_broken_index(manifests: object) -> None:
    data = json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()
    with pytest.raises((Damaged, NotFound)):
        choose_for_machine(
            parse_index(data, where="here"), lambda _: b"", architecture="amd64", where="here"
        )


@pytest.mark.parametrize(
    ("text", "challenge"),
    [
        (
            'Bearer realm="https://a/t",service="b c",scope="x"',
            Challenge(kind="bearer", realm="https://a/t", service="b c"),
        ),
        ("basic", Challenge(kind="basic")),
        (
            'Basic realm="Bearer x", Bearer realm="https://a"',
            Challenge(kind="bearer", realm="https://a"),
        ),
        ("Negotiate", None),
        ("", None),
    ],
)
def test_challenges(text: str, challenge: Challenge | None) -> None:
    assert parse_challenge(text) == challenge


@pytest.mark.parametrize(
    "parameters",
    [
        "A" * 90_000,
        "a=" * 45_000,
        'a="' * 30_000,
        "a " * 45_000,
        "," + " " * 90_000,
        "Bearer," * 12_000,
    ],
)
def test_a_challenge_as_long_as_a_header_can_be_is_read_in_a_moment(parameters: str) -> None:
    """Quadratic time would take minutes."""
    assert parse_challenge(f'Bearer {parameters}, realm="https://a"') is not None


@given(st.text(max_size=80), st.binary(max_size=80))
def test_no_challenge_and_no_token_trips(text: str, body: bytes) -> None:
    parse_challenge(text)
    parse_token(body)


@pytest.mark.parametrize("token", ["", "a\nb", "a b", 7, None])
def test_tokens_that_are_none(token: object) -> None:
    assert parse_token(json.dumps({"token": token}).encode()) is None
