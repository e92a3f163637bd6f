"""OCI indexes, manifests and descriptors: JSON ↔ values (OCI image specification). Pure.

Formatting is deterministic: equal values give equal bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from atoll.base.errors import Damaged, Refused
from atoll.oci.documents import (
    dump_document,
    load_document,
    take_digest,
    take_list,
    take_strings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atoll.base.ids import BlobDigest

INDEX = "application/vnd.oci.image.index.v1+json"
INDEX_TYPES = (INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
LAYER_TYPES = (LAYER_ZSTD, LAYER_GZIP, LAYER_TAR)

REF_NAME = "org.opencontainers.image.ref.name"
MAX_LAYERS = 128
MAX_SIZE = 1 << 60
"""Most bytes that a descriptor may declare."""

_KNOWN = ("mediaType", "digest", "size", "annotations")


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """The platform of an index entry: ``linux``, ``arm64``, ``v8``."""

    os: str
    architecture: str
    variant: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A reference to a blob, ``size`` in bytes.

    ``rest`` holds keys that Atoll does not use; they are kept when an index is written again.
    """

    media_type: str
    digest: BlobDigest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    artifact_type: str = ""
    rest: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageIndex:
    """An index; ``others`` are entries that Atoll cannot use, such as those with other digests."""

    manifests: tuple[Descriptor, ...] = ()
    others: tuple[Mapping[str, object], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """An image manifest. ``layers`` are in order, the lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)


def format_index(index: ImageIndex) -> bytes:
    """The bytes of ``index.json``; deterministic."""
    return dump_document(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [*index.others, *map(_descriptor_json, index.manifests)],
        }
    )


def format_manifest(manifest: Manifest) -> bytes:
    """The bytes of a manifest; deterministic."""
    return dump_document(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor_json(manifest.config),
            "layers": [_descriptor_json(each) for each in manifest.layers],
            "annotations": dict(manifest.annotations),
        }
    )


def parse_index(data: bytes, *, where: str) -> ImageIndex:
    """Parse an index; ``where`` names it in errors. Unusable entries go to ``others``.

    Raises Damaged, or Refused for a document of another type.
    """
    fields = load_document(data, where)
    if fields.get("schemaVersion") != 2 or fields.get("mediaType", INDEX) not in INDEX_TYPES:
        raise Refused(f"{where} is not {INDEX}")
    manifests, others = [], []
    for each in take_list(fields, "manifests", where):
        try:
            manifests.append(_parse_descriptor(each, where))
        except Damaged:
            if not isinstance(each, dict):
                raise
            others.append(each)
    return ImageIndex(manifests=tuple(manifests), others=tuple(others))


def parse_manifest(data: bytes, *, where: str) -> Manifest:
    """Parse a manifest. Raises Damaged, or Refused for one that is not an image's."""
    fields = load_document(data, where)
    _check_media_type(fields, MANIFEST, where)
    config = _parse_descriptor(fields.get("config"), where)
    layers = tuple(_parse_descriptor(each, where) for each in take_list(fields, "layers", where))
    if config.media_type != CONFIG:
        raise Refused(f"{where}: {config.media_type!r} is not the media type of an image config")
    for layer in layers:
        if layer.media_type not in LAYER_TYPES:
            raise Refused(f"{where}: unsupported layer media type {layer.media_type!r}")
    if len(layers) > MAX_LAYERS:
        raise Damaged(f"{where}: {len(layers)} layers are more than {MAX_LAYERS}")
    return Manifest(
        config=config, layers=layers, annotations=take_strings(fields, "annotations", where)
    )


def _descriptor_json(descriptor: Descriptor) -> dict[str, object]:
    fields: dict[str, object] = {
        **descriptor.rest,
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    }
    if descriptor.annotations:
        fields["annotations"] = dict(descriptor.annotations)
    return fields


def _parse_descriptor(fields: object, where: str) -> Descriptor:
    if not isinstance(fields, dict):
        raise Damaged(f"{where}: a descriptor is missing")
    size, media_type = fields.get("size"), fields.get("mediaType")
    if type(size) is not int or not 0 <= size <= MAX_SIZE or not isinstance(media_type, str):
        raise Damaged(f"{where}: a descriptor has no valid size or mediaType")
    return Descriptor(
        media_type=media_type,
        digest=take_digest(fields.get("digest"), where),
        size=size,
        annotations=take_strings(fields, "annotations", where),
        platform=_platform(fields.get("platform")),
        artifact_type=str(fields.get("artifactType", "")),
        rest={key: value for key, value in fields.items() if key not in _KNOWN},
    )


def _platform(value: object) -> Platform | None:
    if not isinstance(value, dict):
        return None
    values = [value.get(key, "") for key in ("os", "architecture", "variant")]
    os, architecture, variant = (each if isinstance(each, str) else "?" for each in values)
    return Platform(os=os, architecture=architecture, variant=variant)


def _check_media_type(fields: dict[str, Any], kind: str, where: str) -> None:
    if fields.get("schemaVersion") != 2 or fields.get("mediaType", kind) != kind:
        raise Refused(f"{where} is not {kind}")
