"""A published image: its manifest and config, and checks on both before layers are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, Refused

if TYPE_CHECKING:
    from atoll.base.ids import BlobDigest
    from atoll.oci.config import ImageRecord
    from atoll.oci.manifest import Manifest

MOST_EXPANSION = 256
"""An image that declares an unpacked size over this many times its own is refused."""

_SMALL = 64 << 20
"""Bytes that are always allowed, so that small images need not satisfy ratios."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedImage:
    """An image's manifest and config, checked; ``digest`` is the manifest's."""

    digest: BlobDigest
    manifest: Manifest
    record: ImageRecord


def check_consistent(manifest: Manifest, record: ImageRecord, *, where: str) -> None:
    """Check that manifest and config fit together, before anything large is read.

    Raises Damaged if their numbers of layers differ, Refused for a decompression bomb.
    """
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
    """Raise Damaged if layers are larger than what they unpack to.

    A sparse file in a layout costs its author nothing, and hashing it would take hours.
    """
    packed = sum(each.size for each in image.manifest.layers)
    # Incompressible data grows a little when it is compressed; one part in 64 is more than enough.
    if packed > _SMALL + image.record.unpacked_size * 65 // 64:
        raise Damaged(
            f"{where}: {packed} bytes of layers are more than the {image.record.unpacked_size}"
            " that they unpack to",
            hint="this looks like an attack: report it to its publisher",
        )
