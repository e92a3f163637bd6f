"""An image in an OCI archive: a layout in one tar file, not compressed, read where it lies."""

from __future__ import annotations

import os
import tarfile
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, NotFound, Refused
from atoll.base.ids import is_hex_digest
from atoll.registry.blobs import CHUNK, MAX_DOCUMENT
from atoll.registry.client import ReceivedManifest
from atoll.registry.manifest import (
    choose_image,
    parse_index,
)
from atoll.registry.reference import format_reference

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atoll.host.web import Span
    from atoll.registry.downloads import Downloads
    from atoll.registry.manifest import Descriptor
    from atoll.registry.reference import ArchiveReference

_BLOBS = "blobs/sha256/"


class ArchiveSource:
    """``places`` has offset and size in the file of each blob, by its 64 hex digits."""

    def __init__(
        self, reference: ArchiveReference, index: bytes, places: dict[str, tuple[int, int]]
    ) -> None:
        self._reference = reference
        self._index = index
        self._places = places

    @property
    def name(self) -> str:
        return format_reference(self._reference)

    def manifest(self) -> ReceivedManifest:
        index = parse_index(self._index, where=f"{self.name}: index.json")
        tag = self._reference.tag
        found = choose_image(index, tag, place=self._reference.file, kind="oci-archive")
        return ReceivedManifest(digest=found.digest, data=self.document(found))

    def document(self, blob: Descriptor) -> bytes:
        if blob.size > MAX_DOCUMENT:
            raise Damaged(f"{self.name}: {blob.digest} has {blob.size} bytes: too many to be JSON")
        return b"".join(self._read(blob, 0, blob.size))

    def layer(self, blob: Descriptor, downloads: Downloads) -> Path:
        return downloads.bring(blob, lambda offset: self._read(blob, offset, blob.size))

    def part(self, blob: Descriptor, span: Span) -> Iterator[bytes]:
        return self._read(blob, span.start, span.end)

    def _read(self, blob: Descriptor, start: int, end: int) -> Iterator[bytes]:
        """Bytes of a blob, not checked. Raises Damaged when there are fewer."""
        place, size = self._places.get(blob.digest.removeprefix("sha256:"), (0, 0))
        if end > size:
            raise Damaged(f"{self.name}: blob {blob.digest} is missing or too short",
                          hint="copy the image again")  # fmt: skip
        with open(self._reference.file, "rb") as file:
            while start < end:
                chunk = os.pread(file.fileno(), min(CHUNK, end - start), place + start)
                if not chunk:
                    raise Damaged(f"{self.name} is too short", hint="copy the image again")
                start += len(chunk)
                yield chunk


def open_archive(reference: ArchiveReference) -> ArchiveSource:
    """Raises NotFound, Refused for what is no OCI archive, or Damaged."""
    places: dict[str, tuple[int, int]] = {}
    index = None
    try:
        with tarfile.open(reference.file, mode="r:") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                digest = name.removeprefix(_BLOBS)
                if member.isreg() and name == "index.json" and member.size <= MAX_DOCUMENT:
                    file = archive.extractfile(member)
                    index = file.read() if file else None
                elif member.isreg() and name.startswith(_BLOBS) and is_hex_digest(digest):
                    places[digest] = member.offset_data, member.size
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"there is no file {reference.file}") from error
    except (tarfile.TarError, IsADirectoryError, ValueError, EOFError) as error:
        raise _no_archive(reference, str(error)) from error
    if index is None:
        raise _no_archive(reference, "it has no index.json")
    return ArchiveSource(reference, index, places)


def _no_archive(reference: ArchiveReference, why: str) -> Refused:
    return Refused(f"{reference.file} is no OCI archive: {why}",
                   hint="make one with: skopeo copy … oci-archive:FILE")  # fmt: skip
