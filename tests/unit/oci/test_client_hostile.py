"""A malicious registry: each lie gives its own error, and the store does not change."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import (
    AtollError,
    Damaged,
    MissingPrivilege,
    NetworkError,
    NoSpace,
    NotFound,
    Refused,
)
from atoll.base.report import NullReporter
from atoll.host.http import RetryPolicy
from atoll.oci.manifest import CONFIG, LAYER_GZIP
from atoll.oci.pull import apply_pull
from atoll.oci.pull_plan import plan_pull
from atoll.oci.reference import parse_reference
from atoll.oci.source import opened_source
from atoll.store.layout import open_store
from tests.crafted import Crafted, tar
from tests.fake_registry import Asked, Reply, digest_of, fake_registry
from tests.images import publish, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from atoll.store.layout import Store
    from tests.fake_registry import FakeRegistry

QUICK = RetryPolicy(attempts=3, first_pause=0.001, longest_pause=0.002, timeout=2.0)
FILES = {"/usr/bash/bash": b"bash" * 5000, "/usr/python/python": bytes(range(256)) * 999}


def pull(registry: FakeRegistry, store: Store, tag: str = "one") -> None:
    with opened_source(parse_reference(registry.reference(tag)), retry=QUICK) as source:
        apply_pull(plan_pull(source, store), source, store, NullReporter())


def blobs(change: Callable[[Reply], Reply]) -> Callable[[Asked, Reply], Reply]:
    """Change responses for layers and configs only."""
    return lambda asked, reply: change(reply) if asked.blob else reply


def manifests(change: Callable[[Reply], Reply]) -> Callable[[Asked, Reply], Reply]:
    return lambda asked, reply: change(reply) if asked.manifest else reply


def layers(change: Callable[[Reply], Reply]) -> Callable[[Asked, Reply], Reply]:
    """Change blobs that are not JSON."""
    return blobs(lambda reply: reply if reply.body.startswith(b"{") else change(reply))


def flipped(reply: Reply) -> Reply:
    return Reply(body=reply.body[:-1] + bytes((reply.body[-1] ^ 1,)))


def in_manifest(**fields: object) -> Callable[[Asked, Reply], Reply]:
    return manifests(lambda reply: Reply(body=json.dumps(json.loads(reply.body) | fields).encode()))


def around(asked: Asked, _: Reply) -> Reply:
    return Reply(status=302, headers={"Location": asked.path + "x"})


LIES: dict[str, tuple[Callable[[Asked, Reply], Reply], type[AtollError], str]] = {
    "a flipped bit in a layer": (layers(flipped), Damaged, "blob sha256:.* has another digest"),
    "a flipped bit in the config": (blobs(flipped), Damaged, "config sha256:.* has another digest"),
    "an empty layer": (layers(lambda _: Reply()), NetworkError, "/blobs/sha256:.* ends after 0"),
    "a layer cut short": (
        layers(lambda reply: Reply(body=reply.body[:9], claimed=len(reply.body))),
        NetworkError,
        "/blobs/sha256:",
    ),
    "a layer that goes on": (
        layers(lambda reply: Reply(body=reply.body + b"more")),
        NetworkError,
        "announces .* at most .* are expected",
    ),
    "a layer without end": (
        layers(lambda _: Reply(endless=True)),
        NetworkError,
        "sends more than the",
    ),
    "a manifest without end": (
        manifests(lambda _: Reply(endless=True)),
        NetworkError,
        "sends more than",
    ),
    "a manifest with another's digest": (
        manifests(lambda r: Reply(body=r.body, headers={"Docker-Content-Digest": digest_of(b"")})),
        Damaged,
        "has the digest",
    ),
    "no JSON": (manifests(lambda _: Reply(body=b"<html>")), Damaged, "hello:one.*not valid JSON"),
    "deep JSON": (
        manifests(lambda _: Reply(body=b"[" * 99_999)),
        Damaged,
        "hello:one.*not valid JSON",
    ),
    "a list": (manifests(lambda _: Reply(body=b"[]")), Damaged, "hello:one.*not a JSON object"),
    "another kind of manifest": (
        in_manifest(mediaType="application/vnd.docker.distribution.manifest.v2+json"),
        Refused,
        "hello:one: manifest .* is not",
    ),
    "layers of another kind": (
        in_manifest(layers=[{"mediaType": "a/b", "digest": digest_of(b""), "size": 1}]),
        Refused,
        "hello:one.*unsupported layer media type",
    ),
    "too many layers": (
        in_manifest(layers=[{"mediaType": LAYER_GZIP, "digest": digest_of(b""), "size": 1}] * 999),
        Damaged,
        "999 layers",
    ),
    "a layer left out": (in_manifest(layers=[]), AtollError, "hello:one"),
    "a config as large as a layer": (
        in_manifest(config={"mediaType": CONFIG, "digest": digest_of(b""), "size": 1 << 40}),
        Damaged,
        "too large for a config",
    ),
    "an index without this machine": (
        manifests(lambda _: Reply(body=b'{"schemaVersion":2,"manifests":[]}')),
        NotFound,
        "no image for linux/",
    ),
    "redirects in a circle": (around, NetworkError, "more than 5 redirects"),
    "a redirect to a file": (
        lambda _, __: Reply(status=307, headers={"Location": "file:///etc/shadow"}),
        NetworkError,
        "not safe",
    ),
    "a compressed answer": (
        manifests(lambda r: Reply(body=r.body, headers={"Content-Encoding": "gzip"})),
        NetworkError,
        "Content-Encoding",
    ),
    "not found": (lambda _, __: Reply(status=404), NotFound, "has no manifests one"),
    "not allowed": (lambda _, __: Reply(status=403), MissingPrivilege, "requires a login"),
    "a login of no kind": (lambda _, __: Reply(status=401), NetworkError, "unsupported kind"),
    "a login without end": (
        lambda _, __: Reply(status=401, headers={"WWW-Authenticate": "Basic realm=x"}),
        MissingPrivilege,
        "requires a login",
    ),
    "a login elsewhere": (
        lambda _, __: Reply(status=401, headers={"WWW-Authenticate": 'Bearer realm="file:///etc"'}),
        NetworkError,
        "unsafe",
    ),
    "too busy for ever": (
        lambda _, __: Reply(status=429, headers={"Retry-After": "99999"}),
        NetworkError,
        r"status 429 \(tried 3 times\)",
    ),
    "broken for ever": (lambda _, __: Reply(status=503), NetworkError, r"503 \(tried 3 times\)"),
    "a teapot": (lambda _, __: Reply(status=418), NetworkError, "status 418"),
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store that already has another image."""
    kept = open_store(tmp_path / "store", create=True)
    old = publish(tmp_path / "old", {"/etc/old": b"old" * 99})
    with opened_source(old.layout) as source:
        apply_pull(plan_pull(source, kept), source, kept, NullReporter())
    return kept


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused_by_name(lie: str, store: Store, tmp_path: Path) -> None:
    change, kind, message = LIES[lie]
    publish(tmp_path, FILES)
    before = snapshot(store.root)
    with fake_registry(tmp_path / "layout") as registry:
        registry.bend = change
        with pytest.raises(kind, match=message) as caught:
            pull(registry, store)
        assert registry.address in caught.value.message or "blob" in caught.value.message
        if not isinstance(caught.value, NetworkError):
            assert snapshot(store.root) == before
        registry.bend = lambda _, reply: reply
        left = {path for path in snapshot(store.root) if not path.startswith("downloads/")}
        assert left == set(before)
        pull(registry, store)
    assert not list((store.root / "downloads").iterdir())


GOOD = tar(("etc/file", tarfile.REGTYPE, b"good" * 99))
BAD_IMAGES: dict[str, tuple[Crafted, type[AtollError], str]] = {
    "a name above the root": (
        Crafted(archives=[tar(("../../etc/passwd", tarfile.REGTYPE, b"root"))]),
        Damaged,
        "points outside the image",
    ),
    "an absolute name": (
        Crafted(archives=[tar(("/etc/passwd", tarfile.REGTYPE, b"root"))]),
        Damaged,
        "points outside the image",
    ),
    "a file through a link": (
        Crafted(
            archives=[tar(("a", tarfile.SYMTYPE, b"/etc"), ("a/passwd", tarfile.REGTYPE, b"root"))]
        ),
        Damaged,
        "a parent of it is not a directory",
    ),
    "a hard link to the host": (
        Crafted(archives=[tar(("a", tarfile.LNKTYPE, b"../etc/shadow"))]),
        Damaged,
        "points outside the image",
    ),
    "a tree it is not": (Crafted(archives=[GOOD]), Damaged, "the layers contain the tree"),
    "a layer swapped for another": (
        Crafted(archives=[GOOD], diff_ids=[digest_of(b"")]),
        Damaged,
        "its diff_id is",
    ),
    "a bomb that hides": (
        Crafted(archives=[tar(("zero", tarfile.REGTYPE, bytes(9 << 20)))], size=1 << 20),
        Damaged,
        "is larger than the image declares",
    ),
    "a bomb that does not": (
        Crafted(archives=[tar(("zero", tarfile.REGTYPE, bytes(1 << 20)))], size=1 << 40),
        Refused,
        "claims that",
    ),
    "no tar": (Crafted(archives=[b"no tar" * 999]), Damaged, "layer sha256:.* not a valid tar"),
    "half a tar": (Crafted(archives=[GOOD[:700]]), Damaged, "is truncated"),
    "another compression": (
        Crafted(archives=[GOOD], media_type=LAYER_GZIP),
        Damaged,
        "cannot be decompressed",
    ),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_image_is_refused_whole(name: str, store: Store, tmp_path: Path) -> None:
    image, kind, message = BAD_IMAGES[name]
    image.write(tmp_path / "layout")
    before = snapshot(store.root)
    with (
        fake_registry(tmp_path / "layout") as registry,
        pytest.raises(kind, match=message) as caught,
    ):
        pull(registry, store)
    assert registry.reference() in caught.value.message
    assert snapshot(store.root) == before


def test_an_image_larger_than_the_disk_is_refused_first(store: Store, tmp_path: Path) -> None:
    publish(tmp_path, FILES)

    def enlarged(asked: Asked, reply: Reply) -> Reply:
        if not asked.manifest:
            return reply
        fields = json.loads(reply.body)
        fields["layers"][0]["size"] = 1 << 60
        return Reply(body=json.dumps(fields).encode())

    before = snapshot(store.root)
    with fake_registry(tmp_path / "layout") as registry:
        registry.bend = enlarged
        with pytest.raises(NoSpace, match="bytes on the file system"):
            pull(registry, store)
        assert len(registry.blobs_asked) == 2, "the config and the contents; no layer"
    assert snapshot(store.root) == before
