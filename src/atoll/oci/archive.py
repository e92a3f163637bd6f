"""An image in an OCI archive, an image layout in one uncompressed tar file, read in place."""

from __future__ import annotations

import os
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING

from atoll.base.errors import Damaged, NotFound, Refused
from atoll.base.ids import is_hex_digest
from atoll.host.fs import open_regular
from atoll.oci.blobs import CHUNK
from atoll.oci.client import ReceivedManifest
from atoll.oci.documents import MAX_DOCUMENT
from atoll.oci.manifest import parse_index
from atoll.oci.platforms import choose_manifest, choose_tagged
from atoll.oci.reference import format_reference
from atoll.oci.tar_reader import TarReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.host.http import ByteRange
    from atoll.oci.downloads import Downloads
    from atoll.oci.manifest import Descriptor
    from atoll.oci.reference import ArchiveReference

_BLOBS = "blobs/sha256/"
_MAX_MEMBERS = 100_000


class ArchiveSource:
    """An image in an archive. ``blobs`` maps 64 hex digits to offset and size in ``file``."""

    def __init__(
        self,
        reference: ArchiveReference,
        file: IO[bytes],
        blobs: dict[str, tuple[int, int]],
        *,
        architecture: str,
    ) -> None:
        self._reference = reference
        self._file = file
        self._blobs = blobs
        self._architecture = architecture

    @property
    def name(self) -> str:
        return format_reference(self._reference)

    def manifest(self) -> ReceivedManifest:
        index = parse_index(self._read_index(), where=f"{self.name}: index.json")
        path = self._reference.file
        tagged = choose_tagged(index, self._reference.tag, path=path, kind="oci-archive")
        found = choose_manifest(
            tagged, self.document, architecture=self._architecture, where=self.name
        )
        return ReceivedManifest(digest=found.digest, data=self.document(found))

    def document(self, blob: Descriptor) -> bytes:
        if blob.size > MAX_DOCUMENT:
            raise Damaged(f"{self.name}: {blob.digest} has {blob.size} bytes: too large for JSON")
        data = b"".join(self._read(blob, 0, blob.size))
        if f"sha256:{sha256(data).hexdigest()}" != blob.digest:
            raise Damaged(
                f"{self.name}: blob {blob.digest} has another digest", hint="copy the image again"
            )
        return data

    def layer(self, blob: Descriptor, downloads: Downloads) -> Path:
        return downloads.complete(blob, lambda offset: self._read(blob, offset, blob.size))

    def part(self, blob: Descriptor, span: ByteRange) -> Iterator[bytes]:
        return self._read(blob, span.start, span.end)

    def _read_index(self) -> bytes:
        start, size = self._blobs["index.json"]
        return os.pread(self._file.fileno(), size, start)

    def _read(self, blob: Descriptor, start: int, end: int) -> Iterator[bytes]:
        """Yield bytes of a blob, not checked. Raises Damaged if it is truncated."""
        position, size = self._blobs.get(blob.digest.removeprefix("sha256:"), (0, 0))
        if end > size:
            raise Damaged(
                f"{self.name}: blob {blob.digest} is missing or truncated",
                hint="copy the image again",
            )
        while start < end:
            chunk = os.pread(self._file.fileno(), min(CHUNK, end - start), position + start)
            if not chunk:
                raise Damaged(f"{self.name} is truncated", hint="copy the image again")
            start += len(chunk)
            yield chunk


class _Archive:
    """Adapts a file to TarReader's SeekableInput, so that large members are skipped by a seek."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int, /) -> bytes:
        return self._file.read(size)

    def skip(self, size: int, /) -> None:
        self._file.seek(size, os.SEEK_CUR)

    def offset(self) -> int:
        return self._file.tell()


@contextmanager
def open_archive(reference: ArchiveReference, *, architecture: str) -> Iterator[ArchiveSource]:
    """Open an archive. Raises NotFound, Damaged, or Refused for a file that is not an archive."""
    try:
        file = open_regular(Path(reference.file), follow=True)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"no such file: {reference.file}") from error
    except Damaged as error:
        raise _invalid_archive(reference, error.message) from error
    except OSError as error:
        raise NotFound(f"{reference.file}: {error.strerror}") from error
    with file:
        try:
            blobs = _find_blobs(_Archive(file))
        except Damaged as error:
            raise _invalid_archive(reference, error.message) from error
        if "index.json" not in blobs:
            raise _invalid_archive(reference, "it has no index.json")
        yield ArchiveSource(reference, file, blobs, architecture=architecture)


def _find_blobs(archive: _Archive) -> dict[str, tuple[int, int]]:
    """Offset and size of each blob by its 64 hex digits, and of ``index.json``. Raises Damaged."""
    blobs: dict[str, tuple[int, int]] = {}
    for number, member in enumerate(TarReader(archive, where="the file")):
        if number > _MAX_MEMBERS:
            raise Damaged(f"it has more than {_MAX_MEMBERS} files")
        name = member.path.decode(errors="replace")
        digest = name.removeprefix(_BLOBS)
        if member.kind != b"0":
            continue
        if name == "index.json" and member.size <= MAX_DOCUMENT:
            blobs[name] = archive.offset(), member.size
        elif name.startswith(_BLOBS) and is_hex_digest(digest):
            blobs[digest] = archive.offset(), member.size
    return blobs


def _invalid_archive(reference: ArchiveReference, why: str) -> Refused:
    return Refused(
        f"{reference.file} is not a valid OCI archive: {why}",
        hint="to make one: skopeo copy … oci-archive:FILE",
    )
