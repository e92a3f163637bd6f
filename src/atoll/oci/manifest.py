"""The JSON of OCI images ↔ values: index, manifest, config. Pure; the same value, the same bytes.

What Atoll adds stands twice: as labels in the config, where ``podman inspect`` shows it and no tool
changes it, and as annotations of the manifest, which a registry shows without fetching the config::

    dev.atoll.tree             64 hex: the digest of the tree that the layers make
    dev.atoll.tree.algorithm   fsverity-sha256-4096
    dev.atoll.tree.format      1: the composefs format of the image the digest is of
    dev.atoll.size             bytes of all layers unpacked: reading stops beyond them
    dev.atoll.container        the diff_id of a layer that is no part of the tree (``container``)
    org.opencontainers.image.title, .version, .created    name, version, the lock's epoch
    org.opencontainers.image.base.name, .base.digest      the image that it was derived from
    org.opencontainers.image.description, and others      what the recipe says in [image]

Packages and kernel of a system (``facts``) are a field of the config's own, ``dev.atoll.system``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from atoll.base.errors import Damaged, Refused
from atoll.base.ids import BlobDigest, TreeId, parse_blob_digest, parse_tree_id
from atoll.base.json import parse_json_object
from atoll.oci.system_label import SystemLabel, facts_as_json, parse_facts

if TYPE_CHECKING:
    from collections.abc import Mapping

INDEX = "application/vnd.oci.image.index.v1+json"
INDEX_TYPES = (INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
LAYER_TYPES = (LAYER_ZSTD, LAYER_GZIP, LAYER_TAR)

REF_NAME = "org.opencontainers.image.ref.name"
ALGORITHM = "fsverity-sha256-4096"
FORMAT = "1"
MAX_DOCUMENT = 8 << 20
"""Bytes of a manifest, an index or a config that are read at all."""

MAX_LAYERS = 128
MAX_SIZE = 1 << 60
"""Bytes that a blob may claim to have."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
"""The name and the version of an image; both become parts of paths and menu entries."""

_TITLE_LIMIT = 200
_MADE_BY = "atoll: "
_KNOWN = ("mediaType", "digest", "size", "annotations")
_TREE = "dev.atoll.tree"
_ALGORITHM = "dev.atoll.tree.algorithm"
_FORMAT = "dev.atoll.tree.format"
_SIZE = "dev.atoll.size"
_CONTAINER = "dev.atoll.container"
_SYSTEM = "dev.atoll.system"
_TITLE = "org.opencontainers.image.title"
_VERSION = "org.opencontainers.image.version"
_CREATED = "org.opencontainers.image.created"
_OWN = {_TREE, _ALGORITHM, _FORMAT, _SIZE, _CONTAINER, _SYSTEM, _TITLE, _VERSION, _CREATED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    os: str
    architecture: str
    variant: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """``rest`` are the keys that Atoll does not use, kept when an index is written again."""

    media_type: str
    digest: BlobDigest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    artifact_type: str = ""
    rest: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageIndex:
    """``others`` are entries that Atoll cannot use, such as one named by another kind of digest."""

    manifests: tuple[Descriptor, ...] = ()
    others: tuple[Mapping[str, object], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """What an image says of itself, without its layers. ``created`` is the lock's epoch."""

    name: str
    version: str
    created: int
    architecture: str
    command: tuple[str, ...] = ("/bin/sh",)
    system: SystemLabel | None = None
    labels: tuple[tuple[str, str], ...] = ()
    """Others than those above, sorted by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """The config blob: an ImageConfig bound to a tree and to the layers that make it."""

    config: ImageConfig
    tree: TreeId
    unpacked_size: int
    layers: tuple[tuple[BlobDigest, str], ...]
    """The diff_id of each layer, and what is in it, for people."""

    container: BlobDigest | None = None
    """The diff_id of the layer that is no part of the tree, where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)


def format_index(index: ImageIndex) -> bytes:
    return _dump(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [*index.others, *map(_descriptor_json, index.manifests)],
        }
    )


def format_manifest(manifest: Manifest) -> bytes:
    return _dump(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor_json(manifest.config),
            "layers": [_descriptor_json(each) for each in manifest.layers],
            "annotations": dict(manifest.annotations),
        }
    )


def format_record(record: ImageRecord) -> bytes:
    created = _format_time(record.config.created)
    system = record.config.system
    # Not a label: programs print all labels, and this is a list of hundreds of packages.
    own = {} if system is None else {_SYSTEM: facts_as_json(system)}
    return _dump(
        own
        | {
            "architecture": record.config.architecture,
            "os": "linux",
            "created": created,
            "config": {
                "Cmd": list(record.config.command),
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                "Labels": record_annotations(record),
            },
            "rootfs": {"type": "layers", "diff_ids": [diff_id for diff_id, _ in record.layers]},
            "history": [
                {"created": created, "created_by": f"atoll: {title}"} for _, title in record.layers
            ],
        }
    )


def record_annotations(record: ImageRecord) -> dict[str, str]:
    """What both the config, as labels, and the manifest, as annotations, carry."""
    return {
        **dict(record.config.labels),
        _TREE: record.tree,
        _ALGORITHM: ALGORITHM,
        _FORMAT: FORMAT,
        _SIZE: str(record.unpacked_size),
        _TITLE: record.config.name,
        _VERSION: record.config.version,
        _CREATED: _format_time(record.config.created),
        **({_CONTAINER: record.container} if record.container else {}),
    }


def parse_index(data: bytes, *, where: str) -> ImageIndex:
    """Raises Damaged; ``where`` says what was read. Entries that cannot be used are ``others``."""
    fields = _load(data, where)
    if fields.get("schemaVersion") != 2 or fields.get("mediaType", INDEX) not in INDEX_TYPES:
        raise Refused(f"{where} is not {INDEX}")
    manifests, others = [], []
    for each in _list(fields, "manifests", where):
        try:
            manifests.append(_parse_descriptor(each, where))
        except Damaged:
            if not isinstance(each, dict):
                raise
            others.append(each)
    return ImageIndex(manifests=tuple(manifests), others=tuple(others))


def parse_manifest(data: bytes, *, where: str) -> Manifest:
    """Raises Damaged, or Refused for an image of another kind."""
    fields = _load(data, where)
    _check_kind(fields, MANIFEST, where)
    config = _parse_descriptor(fields.get("config"), where)
    layers = tuple(_parse_descriptor(each, where) for each in _list(fields, "layers", where))
    if config.media_type != CONFIG:
        raise Refused(f"{where}: {config.media_type!r} is not the media type of an image config")
    for layer in layers:
        if layer.media_type not in LAYER_TYPES:
            raise Refused(f"{where}: unsupported layer media type {layer.media_type!r}")
    if len(layers) > MAX_LAYERS:
        raise Damaged(f"{where}: {len(layers)} layers are more than {MAX_LAYERS}")
    return Manifest(
        config=config, layers=layers, annotations=_strings(fields, "annotations", where)
    )


def parse_record(data: bytes, *, where: str) -> ImageRecord:
    """Raises Damaged, or Refused when it is not an image that Atoll made."""
    fields = _load(data, where)
    inner = _dict(fields, "config", where)
    labels = _strings(inner, "Labels", where)
    if _TREE not in labels:
        raise Refused(
            f"{where} has no tree digest: it is not an Atoll image",
            hint="only images from atoll build are supported",
        )
    if (labels.get(_ALGORITHM), labels.get(_FORMAT)) != (ALGORITHM, FORMAT):
        raise Refused(
            f"{where}: the tree digest has an unsupported algorithm or format",
            hint="a newer version of Atoll may support it",
        )
    diff_ids = _list(_dict(fields, "rootfs", where), "diff_ids", where)
    titles = _titles(fields, len(diff_ids), where)
    return ImageRecord(
        config=ImageConfig(
            name=_checked_name(labels.get(_TITLE, ""), "name", where),
            version=_checked_name(labels.get(_VERSION, ""), "version", where),
            created=_parse_time(fields.get("created"), where),
            architecture=_checked_name(fields.get("architecture", ""), "architecture", where),
            command=tuple(str(word) for word in _list(inner, "Cmd", where)),
            system=_parse_system(fields, labels, where),
            labels=tuple(sorted((key, labels[key]) for key in labels.keys() - _OWN)),
        ),
        tree=parse_tree_id(labels[_TREE]),
        unpacked_size=_parse_number(labels.get(_SIZE, ""), where),
        layers=tuple(
            (_blob_digest(each, where), title) for each, title in zip(diff_ids, titles, strict=True)
        ),
        container=_blob_digest(labels[_CONTAINER], where) if _CONTAINER in labels else None,
    )


def _titles(fields: dict[str, Any], count: int, where: str) -> list[str]:
    """What is in each layer, for people. Raises Refused where another tool has added layers."""
    history = [each for each in _list(fields, "history", where) if isinstance(each, dict)]
    made = [str(each.get("created_by", "")) for each in history]
    if any(text and not text.startswith(_MADE_BY) for text in made):
        raise Refused(
            f"{where} is not an unmodified Atoll image: it was made FROM one, and another"
            " tool has changed it",
            hint="pull its base image, or write the changes into a recipe with"
            ' from = "docker://…" and build that',
        )
    if len(made) != count:
        return [""] * count
    return [
        "".join(each if each.isprintable() else "?" for each in text)[:_TITLE_LIMIT]
        for text in (text.removeprefix(_MADE_BY) for text in made)
    ]


def _checked_name(value: object, what: str, where: str) -> str:
    """What an image calls itself, at the one door: it becomes file names and menu entries."""
    if not isinstance(value, str) or (value and not _NAME.fullmatch(value)):
        raise Refused(
            f"{where}: its {what} is not valid: {str(value)[:40]!r}",
            hint="allowed are letters, digits, . _ and -, at most 128: report it to the"
            " publisher of the image",
        )
    return value


def _parse_system(
    fields: dict[str, Any], labels: Mapping[str, str], where: str
) -> SystemLabel | None:
    found = fields.get(_SYSTEM, labels.get(_SYSTEM))
    return None if found is None else parse_facts(found, where=where)


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
        digest=_blob_digest(fields.get("digest"), where),
        size=size,
        annotations=_strings(fields, "annotations", where),
        platform=_platform(fields.get("platform")),
        artifact_type=str(fields.get("artifactType", "")),
        rest={key: value for key, value in fields.items() if key not in _KNOWN},
    )


def _platform(value: object) -> Platform | None:
    if not isinstance(value, dict):
        return None
    words = [value.get(key, "") for key in ("os", "architecture", "variant")]
    os, architecture, variant = (word if isinstance(word, str) else "?" for word in words)
    return Platform(os=os, architecture=architecture, variant=variant)


def _blob_digest(value: object, where: str) -> BlobDigest:
    if not isinstance(value, str):
        raise Damaged(f"{where}: a digest is missing")
    try:
        return parse_blob_digest(value)
    except Damaged as error:
        raise Damaged(f"{where}: {error.message}") from error


def _check_kind(fields: dict[str, Any], kind: str, where: str) -> None:
    if fields.get("schemaVersion") != 2 or fields.get("mediaType", kind) != kind:
        raise Refused(f"{where} is not {kind}")


def _load(data: bytes, where: str) -> dict[str, Any]:
    return parse_json_object(data, where=where, limit=MAX_DOCUMENT)


def _dump(fields: dict[str, object]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _list(fields: dict[str, Any], key: str, where: str) -> list[Any]:
    value = fields.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Damaged(f"{where}: {key} is not a list")
    return value


def _dict(fields: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    value = fields.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Damaged(f"{where}: {key} is not an object")
    return value


def _strings(fields: dict[str, Any], key: str, where: str) -> dict[str, str]:
    value = _dict(fields, key, where)
    if not all(isinstance(each, str) for each in value.values()):
        raise Damaged(f"{where}: {key} has values that are not strings")
    return value


def _format_time(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _parse_time(text: object, where: str) -> int:
    try:
        if not isinstance(text, str):
            raise ValueError("it is missing")
        found = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        if found.year < 1970:
            raise ValueError("it is before 1970")
        return int(found.timestamp())
    except ValueError as error:
        raise Damaged(f"{where}: the creation time is not valid: {error}") from error


def _parse_number(text: str, where: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise Damaged(f"{where}: {_SIZE} is not a number")
    return int(text)
