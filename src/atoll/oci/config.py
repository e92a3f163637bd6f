"""The config of an OCI image: the fields and labels that Atoll writes and reads. Pure.

Atoll adds these labels. The manifest has the same values as annotations: ``podman inspect`` shows
labels, and a registry can show annotations without downloading the config::

    dev.atoll.tree             64 hex: the digest of the tree that the layers contain
    dev.atoll.tree.algorithm   fsverity-sha256-4096
    dev.atoll.tree.format      1: the version of composefs's image format
    dev.atoll.size             uncompressed size of all layers in bytes; an upper limit for readers
    dev.atoll.container        the diff_id of the container layer, which is not part of the tree
                               (``container_layer``)
    org.opencontainers.image.title, .version, .created    name, version, the lock's epoch
    org.opencontainers.image.base.name, .base.digest      the base image
    org.opencontainers.image.description, and others      from [image] of the recipe

The package list and the kernel's version are in a field of the config itself, ``dev.atoll.system``
(``system_label``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from atoll.base.errors import Damaged, Refused
from atoll.base.ids import BlobDigest, TreeId, parse_tree_id
from atoll.oci.documents import (
    dump_document,
    load_document,
    take_digest,
    take_list,
    take_object,
    take_strings,
)
from atoll.oci.system_label import SystemLabel, format_system, parse_system

if TYPE_CHECKING:
    from collections.abc import Mapping

ALGORITHM = "fsverity-sha256-4096"
FORMAT = "1"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
"""Valid name or version of an image; both become parts of paths and menu entries."""

_TITLE_LIMIT = 200
_MADE_BY = "atoll: "
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
class ImageConfig:
    """An image's metadata. ``created`` is the lock's epoch, in seconds since 1970."""

    name: str
    version: str
    created: int
    architecture: str
    command: tuple[str, ...] = ("/bin/sh",)
    system: SystemLabel | None = None
    labels: tuple[tuple[str, str], ...] = ()
    """All other labels, sorted by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """The config blob: metadata, and the tree with its layers.

    ``unpacked_size`` is that of all layers, in bytes.
    """

    config: ImageConfig
    tree: TreeId
    unpacked_size: int
    layers: tuple[tuple[BlobDigest, str], ...]
    """The diff_id of each layer and a title for people."""

    container: BlobDigest | None = None
    """The diff_id of the container layer, if there is one."""


def format_record(record: ImageRecord) -> bytes:
    """The bytes of the config blob; deterministic."""
    created = _format_time(record.config.created)
    system = record.config.system
    # Not a label: tools print all labels, and this is a list of hundreds of packages.
    own = {} if system is None else {_SYSTEM: format_system(system)}
    return dump_document(
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
    """The values that are both labels of the config and annotations of the manifest."""
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


def parse_record(data: bytes, *, where: str) -> ImageRecord:
    """Parse a config blob. Raises Damaged, or Refused for an image that Atoll did not build."""
    fields = load_document(data, where)
    inner = take_object(fields, "config", where)
    labels = take_strings(inner, "Labels", where)
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
    diff_ids = take_list(take_object(fields, "rootfs", where), "diff_ids", where)
    titles = _titles(fields, len(diff_ids), where)
    return ImageRecord(
        config=ImageConfig(
            name=_checked_name(labels.get(_TITLE, ""), "name", where),
            version=_checked_name(labels.get(_VERSION, ""), "version", where),
            created=_parse_time(fields.get("created"), where),
            architecture=_checked_name(fields.get("architecture", ""), "architecture", where),
            command=tuple(str(word) for word in take_list(inner, "Cmd", where)),
            system=_parse_system(fields, labels, where),
            labels=tuple(sorted((key, labels[key]) for key in labels.keys() - _OWN)),
        ),
        tree=parse_tree_id(labels[_TREE]),
        unpacked_size=_parse_number(labels.get(_SIZE, ""), where),
        layers=tuple(
            (take_digest(each, where), title) for each, title in zip(diff_ids, titles, strict=True)
        ),
        container=take_digest(labels[_CONTAINER], where) if _CONTAINER in labels else None,
    )


def _titles(fields: dict[str, Any], count: int, where: str) -> list[str]:
    """The title of each layer. Raises Refused if another tool has added layers."""
    history = [each for each in take_list(fields, "history", where) if isinstance(each, dict)]
    created_by = [str(each.get("created_by", "")) for each in history]
    if any(text and not text.startswith(_MADE_BY) for text in created_by):
        raise Refused(
            f"{where} is not an unmodified Atoll image: it was made FROM one, and another"
            " tool has changed it",
            hint="pull its base image, or write the changes into a recipe with"
            ' from = "docker://…" and build that',
        )
    if len(created_by) != count:
        return [""] * count
    return [
        "".join(each if each.isprintable() else "?" for each in text)[:_TITLE_LIMIT]
        for text in (text.removeprefix(_MADE_BY) for text in created_by)
    ]


def _checked_name(value: object, what: str, where: str) -> str:
    """Check a name from an image: it becomes part of file names and menu entries."""
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
    return None if found is None else parse_system(found, where=where)


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
