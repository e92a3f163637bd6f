from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import AtollError, Damaged, Refused
from atoll.base.ids import BlobDigest, TreeId
from atoll.oci.config import (
    ImageConfig,
    ImageRecord,
    format_record,
    parse_record,
    record_annotations,
)
from atoll.oci.manifest import (
    CONFIG,
    LAYER_ZSTD,
    MANIFEST,
    REF_NAME,
    Descriptor,
    ImageIndex,
    Manifest,
    format_index,
    format_manifest,
    parse_index,
    parse_manifest,
)
from atoll.oci.system_label import SystemLabel

A, B = BlobDigest("sha256:" + "a" * 64), BlobDigest("sha256:" + "b" * 64)
RECORD = ImageRecord(
    config=ImageConfig(name="hello", version="1", created=1_788_000_000, architecture="amd64"),
    tree=TreeId("c" * 64),
    unpacked_size=1024,
    layers=((A, "bash libc6"), (B, "files of no package")),
)
MANIFEST_VALUE = Manifest(
    config=Descriptor(media_type=CONFIG, digest=A, size=10),
    layers=(Descriptor(media_type=LAYER_ZSTD, digest=B, size=20),),
    annotations=record_annotations(RECORD),
)
INDEX_VALUE = ImageIndex(
    manifests=(Descriptor(media_type=MANIFEST, digest=A, size=5, annotations={REF_NAME: "latest"}),)
)


def test_values_come_back() -> None:
    assert parse_index(format_index(INDEX_VALUE), where="it") == INDEX_VALUE
    assert parse_manifest(format_manifest(MANIFEST_VALUE), where="it") == MANIFEST_VALUE
    assert parse_record(format_record(RECORD), where="it") == RECORD


def test_what_is_said_of_an_image_is_a_label_and_an_annotation() -> None:
    said = (("org.opencontainers.image.source", "https://git.example/hello"), ("x.y", "z"))
    record = replace(RECORD, config=replace(RECORD.config, labels=said), container=B)
    assert parse_record(format_record(record), where="it") == record
    assert json.loads(format_record(record))["config"]["Labels"]["x.y"] == "z"
    assert record_annotations(record)["org.opencontainers.image.source"] == said[0][1]
    assert record_annotations(record)["dev.atoll.container"] == B


def test_no_label_changes_what_atoll_says() -> None:
    said = (("dev.atoll.tree", "d" * 64),)
    record = replace(RECORD, config=replace(RECORD.config, labels=said))
    assert record_annotations(record)["dev.atoll.tree"] == RECORD.tree


def test_the_bytes_are_fixed() -> None:
    assert format_index(INDEX_VALUE) == (
        b'{"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"latest"},'
        b'"digest":"' + A.encode() + b'","mediaType":"application/vnd.oci.image.manifest.v1+json",'
        b'"size":5}],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}'
    )
    fields = json.loads(format_record(RECORD))
    assert fields["created"] == "2026-08-29T10:40:00Z"
    assert fields["config"]["Labels"]["dev.atoll.tree"] == "c" * 64
    assert fields["rootfs"] == {"type": "layers", "diff_ids": [A, B]}
    assert len(fields["history"]) == 2


def test_the_list_of_packages_is_no_label_and_older_images_are_still_read() -> None:
    """``skopeo inspect`` and ``podman inspect`` print labels in full."""
    facts = SystemLabel(kernel="6.12", esp=7, packages={f"package-{n}": "1" for n in range(300)})
    record = replace(RECORD, config=replace(RECORD.config, system=facts))
    fields = json.loads(format_record(record))
    assert all(len(text) < 100 for text in fields["config"]["Labels"].values())
    assert parse_record(format_record(record), where="it") == record
    fields["config"]["Labels"]["dev.atoll.system"] = json.dumps(fields.pop("dev.atoll.system"))
    assert parse_record(json.dumps(fields).encode(), where="it") == record


def changed(data: bytes, *path: Any, value: Any) -> bytes:
    fields = json.loads(data)
    here = fields
    for key in path[:-1]:
        here = here[key]
    here[path[-1]] = value
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b"{",
        b"[" * 100_000,
        changed(format_manifest(MANIFEST_VALUE), "config", value=None),
        changed(format_manifest(MANIFEST_VALUE), "config", "size", value=-1),
        changed(format_manifest(MANIFEST_VALUE), "config", "size", value=True),
        changed(
            format_manifest(MANIFEST_VALUE), "config", "digest", value="sha256:../../etc/passwd"
        ),
        changed(format_manifest(MANIFEST_VALUE), "config", "digest", value=7),
        changed(format_manifest(MANIFEST_VALUE), "layers", value={}),
        changed(format_manifest(MANIFEST_VALUE), "annotations", value={"a": 1}),
        changed(
            format_manifest(MANIFEST_VALUE),
            "layers",
            value=[{"mediaType": LAYER_ZSTD, "digest": A, "size": 1}] * 129,
        ),
    ],
)
def test_damaged_manifests(data: bytes) -> None:
    with pytest.raises(Damaged, match="it"):
        parse_manifest(data, where="it")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schemaVersion", 1),
        ("mediaType", "text/plain"),
        ("config", {"mediaType": "application/vnd.oci.empty.v1+json", "digest": A, "size": 2}),
        ("layers", [{"mediaType": "text/plain", "digest": A, "size": 2}]),
    ],
)
def test_manifests_of_another_kind(key: str, value: object) -> None:
    with pytest.raises(Refused):
        parse_manifest(changed(format_manifest(MANIFEST_VALUE), key, value=value), where="it")


def test_a_foreign_image_is_refused() -> None:
    with pytest.raises(Refused, match="no tree digest"):
        parse_record(changed(format_record(RECORD), "config", "Labels", value=None), where="it")
    other = changed(format_record(RECORD), "config", "Labels", "dev.atoll.tree.format", value="2")
    with pytest.raises(Refused, match="format"):
        parse_record(other, where="it")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("config", "Labels", "dev.atoll.tree"), "x"),
        (("config", "Labels", "dev.atoll.size"), "-1"),
        (("created",), "yesterday"),
        (("rootfs", "diff_ids"), [1, 2]),
        (("rootfs",), []),
    ],
)
def test_damaged_records(path: tuple[str, ...], value: object) -> None:
    with pytest.raises(Damaged):
        parse_record(changed(format_record(RECORD), *path, value=value), where="it")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below),
    max_leaves=8,
)


@given(st.sampled_from(sorted(json.loads(format_record(RECORD)))), json_values)
def test_no_json_gives_a_traceback(key: str, value: object) -> None:
    for data, parse in (
        (format_record(RECORD), parse_record),
        (format_manifest(MANIFEST_VALUE), parse_manifest),
        (format_index(INDEX_VALUE), parse_index),
    ):
        try:
            parse(changed(data, key, value=value), where="it")
        except AtollError as error:
            assert "it" in error.message or "digest" in error.message
