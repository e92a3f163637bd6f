"""Images that nobody honest would make, as OCI layouts."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import zstandard

from atoll.oci.config import ImageConfig, ImageRecord, format_record
from atoll.oci.manifest import CONFIG, LAYER_ZSTD, MANIFEST, Descriptor, Manifest, format_manifest
from tests.fake_registry import digest_of
from tests.images import EPOCH

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.base.ids import BlobDigest, TreeId


@dataclass(slots=True, kw_only=True)
class Crafted:
    """An image whose layers are any bytes at all; ``blobs`` are them as they lie in the layout."""

    archives: list[bytes]
    blobs: list[bytes] = field(default_factory=list)
    name: str = "x"
    tree: str = "0" * 64
    size: int | None = None
    media_type: str = LAYER_ZSTD
    diff_ids: list[str] = field(default_factory=list)

    def write(self, layout: Path) -> None:
        folder = layout / "blobs" / "sha256"
        folder.mkdir(parents=True, exist_ok=True)

        def put(data: bytes, kind: str) -> Descriptor:
            digest = digest_of(data)
            (folder / digest.removeprefix("sha256:")).write_bytes(data)
            return Descriptor(media_type=kind, digest=as_blob(digest), size=len(data))

        compressor = zstandard.ZstdCompressor(level=1)
        packed = [put(each, self.media_type) for each in self.blobs] or [
            put(compressor.compress(each), self.media_type) for each in self.archives
        ]
        diff_ids = self.diff_ids or [digest_of(each) for each in self.archives]
        record = ImageRecord(
            config=ImageConfig(name=self.name, version="1", created=EPOCH, architecture="amd64"),
            tree=as_tree(self.tree),
            unpacked_size=sum(map(len, self.archives)) if self.size is None else self.size,
            layers=tuple((as_blob(each), "") for each in diff_ids),
        )
        manifest = Manifest(config=put(format_record(record), CONFIG), layers=tuple(packed))
        written = put(format_manifest(manifest), MANIFEST)
        index = {
            "schemaVersion": 2,
            "manifests": [
                {
                    "mediaType": MANIFEST,
                    "digest": written.digest,
                    "size": written.size,
                    "annotations": {"org.opencontainers.image.ref.name": "one"},
                }
            ],
        }
        (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        (layout / "index.json").write_text(json.dumps(index))


def as_blob(text: str) -> BlobDigest:
    return text  # type: ignore[return-value]


def as_tree(text: str) -> TreeId:
    return text  # type: ignore[return-value]


def tar(*members: tuple[str, bytes, bytes]) -> bytes:
    """A tar of (name, kind, content or target)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(content)
            else:
                info.linkname = content.decode()
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()
