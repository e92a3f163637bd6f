"""Choice among several images: indexes in layouts and archives, platforms, unknown entries."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import AtollError, Damaged, NotFound, Refused, UsageError
from atoll.base.report import NullReporter
from atoll.oci.layout import inspect_layout
from atoll.oci.layout_writer import write_layout
from atoll.oci.manifest import INDEX, MANIFEST, REF_NAME, format_index, parse_index
from atoll.oci.platforms import MAX_DEPTH, choose_for_machine
from atoll.oci.pull import pull_image
from atoll.oci.reference import ArchiveReference, LayoutReference
from atoll.oci.source import inspect_source, opened_source
from atoll.store.layout import open_store
from atoll.tree.model import Directory, Metadata, Regular
from tests.fake_registry import digest_of
from tests.images import EPOCH, MadeImage, publish

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atoll.base.ids import BlobDigest

ATTESTATION = {
    "mediaType": MANIFEST,
    "digest": digest_of(b"attestation"),
    "size": 9,
    "platform": {"os": "unknown", "architecture": "unknown"},
    "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
}
SHA512 = {"mediaType": MANIFEST, "digest": "sha512:" + "0" * 128, "size": 9}
STRANGE = {"mediaType": "application/x-strange", "digest": digest_of(b"strange"), "size": 7}
BLAKE = {"mediaType": MANIFEST, "digest": "blake3:00", "size": 9, "annotations": {REF_NAME: "b3"}}


@pytest.fixture
def image(tmp_path: Path) -> MadeImage:
    return publish(tmp_path, {"/etc/motd": b"content" * 99})


def entry(image: MadeImage, **platform: str) -> dict[str, object]:
    data = blob_path(image, image.digest).read_bytes()
    found: dict[str, object] = {"mediaType": MANIFEST, "digest": image.digest, "size": len(data)}
    return found | ({"platform": {"os": "linux", **platform}} if platform else {})


def blob_path(image: MadeImage, digest: str) -> Path:
    return Path(image.layout.directory) / "blobs" / "sha256" / digest.removeprefix("sha256:")


def put_index(image: MadeImage, *entries: Mapping[str, object]) -> dict[str, object]:
    """An index as a blob of the layout; its descriptor."""
    body = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)}
    data = json.dumps(body).encode()
    blob_path(image, digest_of(data)).write_bytes(data)
    return {"mediaType": INDEX, "digest": digest_of(data), "size": len(data)}


def top(image: MadeImage, *entries: Mapping[str, object]) -> None:
    body = {"schemaVersion": 2, "manifests": list(entries)}
    (Path(image.layout.directory) / "index.json").write_text(json.dumps(body))


def tagged(descriptor: Mapping[str, object], tag: str = "one") -> dict[str, object]:
    return {**descriptor, "annotations": {REF_NAME: tag}}


def found(image: MadeImage, architecture: str = "amd64") -> BlobDigest:
    """The result for a layout and for an archive of it, which must be equal."""
    archive = Path(image.layout.directory).with_suffix(".tar")
    with tarfile.open(archive, "w") as file:
        file.add(image.layout.directory, ".")
    digests = {inspect_layout(image.layout, architecture=architecture).digest}
    for reference in (image.layout, ArchiveReference(file=str(archive), tag=image.layout.tag)):
        with opened_source(reference, architecture=architecture) as source:
            digests.add(inspect_source(source).digest)
    return digests.pop() if len(digests) == 1 else pytest.fail(str(digests))


def other(image: MadeImage, **platform: str) -> dict[str, object]:
    """An entry whose blob is missing: choosing it fails."""
    return entry(image, **platform) | {"digest": digest_of(str(platform).encode())}


def test_a_tag_that_is_an_index_leads_to_this_machine(image: MadeImage) -> None:
    inner = put_index(
        image,
        ATTESTATION,
        SHA512,
        STRANGE,
        other(image, architecture="arm64"),
        other(image, architecture="amd64", variant="v3"),
        other(image, architecture="amd64")
        | {"platform": {"os": "windows", "architecture": "amd64"}},
        entry(image, architecture="amd64"),
    )
    top(image, tagged(inner), tagged(STRANGE, "two"), BLAKE)
    assert found(image) == image.digest


def test_an_index_in_an_index_leads_there_too(image: MadeImage) -> None:
    inner = put_index(image, entry(image, architecture="amd64"))
    for _ in range(MAX_DEPTH - 1):
        inner = put_index(image, ATTESTATION, inner)
    top(image, tagged(inner))
    assert found(image) == image.digest
    top(image, tagged(put_index(image, inner)))
    with pytest.raises(Damaged, match="deep"):
        found(image)


def test_indexes_do_not_multiply(image: MadeImage) -> None:
    leaf = put_index(image, other(image, architecture="arm64"))
    inner = put_index(image, *[leaf] * 30)
    top(image, tagged(inner))
    with pytest.raises(Damaged, match="more than 16"):
        found(image)


@pytest.mark.parametrize(
    ("architecture", "there", "best"),
    [
        ("amd64", ["v3", "", "v2"], ""),
        ("amd64", ["v2", "v1"], "v1"),
        ("amd64", ["v3", "v2"], None),
        ("arm64", ["v9", "v8"], "v8"),
        ("arm", ["v5", "v6", "v7"], "v7"),
        ("arm", ["v6", "v5"], "v6"),
        ("riscv64", [""], ""),
        ("riscv64", ["rva23"], None),
    ],
)
def test_the_variant_that_runs_everywhere_comes_first(
    architecture: str, there: list[str], best: str | None
) -> None:
    entries = [
        {
            "mediaType": MANIFEST,
            "digest": digest_of(variant.encode()),
            "size": 1,
            "platform": {"os": "linux", "architecture": architecture}
            | ({"variant": variant} if variant else {}),
        }
        for variant in there
    ]
    index = parse_index(json.dumps({"schemaVersion": 2, "manifests": entries}).encode(), where="it")
    if best is None:
        with pytest.raises(NotFound, match=f"linux/{architecture}") as caught:
            choose_for_machine(index, lambda _: b"", architecture=architecture, where="it")
        assert there[0] in (caught.value.hint or "")
        return
    chosen = choose_for_machine(index, lambda _: b"", architecture=architecture, where="it")
    assert chosen.digest == digest_of(best.encode())


def test_several_machines_under_one_tag(image: MadeImage) -> None:
    top(
        image,
        tagged(other(image, architecture="arm64")),
        tagged(entry(image, architecture="amd64")),
    )
    assert found(image) == image.digest


def test_without_a_tag_the_only_image_is_meant(image: MadeImage) -> None:
    top(image, STRANGE, SHA512, entry(image))
    untagged = MadeImage(
        layout=LayoutReference(directory=image.layout.directory),
        tree=image.tree,
        digest=image.digest,
    )
    assert found(untagged) == image.digest
    top(image, tagged(entry(image), "a"), tagged(entry(image), "b"))
    with pytest.raises(UsageError, match="2 images"):
        found(untagged)


@pytest.mark.parametrize("descriptor", [SHA512, STRANGE, BLAKE])
def test_a_tag_that_is_no_image_is_refused(image: MadeImage, descriptor: dict[str, object]) -> None:
    top(image, tagged(descriptor))
    with pytest.raises((Refused, NotFound)):
        found(image)


def test_what_others_keep_in_a_layout_stays_when_it_is_written(
    image: MadeImage, tmp_path: Path
) -> None:
    """Entries that Atoll cannot use are kept: platforms, artifacts, other digests."""
    inner = put_index(image, entry(image, architecture="amd64"))
    extra = tagged(entry(image, architecture="arm64"), "arm") | {
        "artifactType": "x/y",
        "data": "e30=",
    }
    kept = [tagged(inner, "all"), tagged(STRANGE, "s"), tagged(SHA512, "long"), BLAKE, extra]
    top(image, *kept)
    publish(tmp_path, {"/etc/motd": b"other" * 99}, tag="new")
    index = json.loads((Path(image.layout.directory) / "index.json").read_text())
    for each in kept:
        assert each in index["manifests"]


@given(st.lists(st.sampled_from([ATTESTATION, SHA512, STRANGE, BLAKE]), max_size=5))
def test_an_index_comes_back_as_it_was(entries: list[dict[str, object]]) -> None:
    data = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    again = json.loads(format_index(parse_index(data, where="it")))["manifests"]
    assert sorted(json.dumps(each, sort_keys=True) for each in again) == sorted(
        json.dumps(each, sort_keys=True) for each in entries
    )


JUNK = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from([INDEX, MANIFEST]),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.sampled_from(["os", "architecture", "variant"]), below, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"mediaType": JUNK, "digest": JUNK | st.just(digest_of(b"")), "size": JUNK},
            optional={"platform": JUNK, "annotations": JUNK, "artifactType": JUNK},
        ),
        max_size=4,
    )
)
def test_any_index_has_an_image_or_is_refused(entries: list[dict[str, object]]) -> None:
    data = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    try:
        index = parse_index(data, where="it")
        choose_for_machine(index, lambda _: b"{}", architecture="amd64", where="it")
    except AtollError as error:
        assert error.message


def test_whole_layers_with_user_attributes_make_the_same_tree(tmp_path: Path) -> None:
    """Layers as another tool writes them when it repacks an image."""
    from atoll.oci.config import ImageConfig
    from atoll.oci.layout_writer import NewImage
    from atoll.store.tree_images import write_image
    from atoll.tree.canonical import canonical
    from tests.images import _without_contents

    store = open_store(tmp_path / "maker", create=True)
    metadata = Metadata(mode=0o644, xattrs=((b"user.comment", b"mine"),))
    root = Directory(Metadata(mode=0o755), {b"file": Regular(metadata, 2, None, b"hi")})
    name = write_image(store, canonical(root, epoch=EPOCH, user_xattrs=True))
    config = ImageConfig(name="hello", version="1", created=EPOCH, architecture="amd64")
    layout = LayoutReference(directory=str(tmp_path / "layout"), tag="one")
    write_layout(store, NewImage(tree=name, config=config, owner_of={}), layout, NullReporter())
    _without_contents(layout)
    taken = open_store(tmp_path / "store", create=True)
    with opened_source(layout) as source:
        assert pull_image(source, taken, NullReporter()).record.tree == name
