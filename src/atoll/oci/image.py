"""An image as it lies somewhere: its manifest and config, and what must be true of the two."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, NoSpace, Refused

if TYPE_CHECKING:
    from atoll.base.ids import BlobDigest
    from atoll.oci.config import ImageRecord
    from atoll.oci.manifest import Manifest
    from atoll.store.layout import Store

MOST_EXPANSION = 256
"""An image that claims to unpack to more than this many times its size is a bomb."""

_SMALL = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedImage:
    digest: BlobDigest
    manifest: Manifest
    record: ImageRecord


def check_together(manifest: Manifest, record: ImageRecord, *, where: str) -> None:
    """Raises Damaged or Refused for what no image is: before anything large is read."""
    if len(record.layers) != len(manifest.layers):
        raise Damaged(f"{where}: manifest and config have different layers")
    packed, unpacked = sum(each.size for each in manifest.layers), record.unpacked_size
    if unpacked > _SMALL + MOST_EXPANSION * packed:
        raise Refused(
            f"{where}: it claims that {packed} bytes unpack to {unpacked}",
            hint="this looks like a decompression bomb: report it to the administrator of the"
            " registry",
        )


def check_plausible(image: PublishedImage, *, where: str) -> None:
    """Raises Damaged for layers that are larger than what they unpack to: a file with a hole is
    large at no cost, and hashing it would take hours."""
    packed = sum(each.size for each in image.manifest.layers)
    if packed > _SMALL + image.record.unpacked_size * 65 // 64:
        raise Damaged(
            f"{where}: {packed} bytes of layers are more than the {image.record.unpacked_size}"
            " that they unpack to",
            hint="this looks like an attack: report it to its publisher",
        )


def check_disk(image: PublishedImage, store: Store, *, where: str) -> None:
    """Raises NoSpace for an image that is larger than the whole file system of the store."""
    found = os.statvfs(store.root)
    if image.record.unpacked_size > found.f_blocks * found.f_frsize:
        raise NoSpace(
            f"{where} unpacks to {image.record.unpacked_size} bytes: more than the file system"
            f" of {store.root} can hold",
            hint=f"see: df -h {store.root}",
        )
