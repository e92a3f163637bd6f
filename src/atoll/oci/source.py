"""Image sources: an OCI layout, an archive, or a registry with its mirrors."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from atoll.base.errors import (
    Damaged,
    MissingPrivilege,
    NetworkError,
    NotFound,
    UsageError,
)
from atoll.base.json import parse_json_object
from atoll.host.http import ByteRange, HttpClient
from atoll.oci.archive import open_archive
from atoll.oci.blobs import BlobStore
from atoll.oci.certificates import trust_for
from atoll.oci.client import ReceivedManifest, RegistryClient
from atoll.oci.config import parse_record
from atoll.oci.credentials import find_credentials
from atoll.oci.documents import MAX_DOCUMENT
from atoll.oci.endpoints import find_endpoints, read_helpers, read_rules
from atoll.oci.image import PublishedImage, check_consistent
from atoll.oci.layout import inspect_layout
from atoll.oci.manifest import INDEX, INDEX_TYPES, Descriptor, parse_index, parse_manifest
from atoll.oci.platforms import choose_for_machine, this_architecture
from atoll.oci.reference import (
    ArchiveReference,
    LayoutReference,
    RegistryReference,
    StoreReference,
    format_reference,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from atoll.host.http import RetryPolicy
    from atoll.oci.downloads import Downloads
    from atoll.oci.endpoints import Endpoint
    from atoll.oci.login import Credentials
    from atoll.oci.reference import Reference

DEFAULT_TAG = "latest"
_Found = TypeVar("_Found")


class ImageSource(Protocol):
    """One image in a layout, archive or registry. ``name`` is its reference as text."""

    @property
    def name(self) -> str: ...

    def manifest(self) -> ReceivedManifest:
        """The manifest of the image for the source's architecture.

        Raises NotFound, MissingPrivilege, NetworkError, Damaged or Refused.
        """

    def document(self, blob: Descriptor) -> bytes:
        """Read a small blob; the caller checks its digest."""

    def layer(self, blob: Descriptor, downloads: Downloads) -> Path:
        """The path of a complete, checked blob; ``downloads`` is where it is put if needed."""

    def part(self, blob: Descriptor, span: ByteRange) -> Iterator[bytes]:
        """Yield bytes of a blob; the caller checks them. Safe to call from several threads.

        Raises NetworkError with ``status`` 200 if the server does not support ranges.
        """


class LayoutSource:
    """An image in an OCI layout; its layers are read in place."""

    def __init__(self, reference: LayoutReference, *, architecture: str) -> None:
        self._reference = reference
        self._architecture = architecture
        self._blobs = BlobStore(Path(reference.directory))

    @property
    def name(self) -> str:
        return format_reference(self._reference)

    def manifest(self) -> ReceivedManifest:
        digest = inspect_layout(self._reference, architecture=self._architecture).digest
        return ReceivedManifest(digest=digest, data=self._blobs.read_checked(digest, MAX_DOCUMENT))

    def document(self, blob: Descriptor) -> bytes:
        return self._blobs.read_document(blob)

    def layer(self, blob: Descriptor, downloads: Downloads) -> Path:  # noqa: ARG002
        with self._blobs.open(blob):
            return self._blobs.path(blob.digest)

    def part(self, blob: Descriptor, span: ByteRange) -> Iterator[bytes]:
        return self._blobs.read_part(blob, span.start, span.end)


class RegistrySource:
    """An image at one endpoint of a registry."""

    def __init__(
        self, client: RegistryClient, reference: RegistryReference, *, architecture: str
    ) -> None:
        self._client = client
        self._reference = reference
        self._architecture = architecture
        self._received: ReceivedManifest | None = None

    @property
    def name(self) -> str:
        return format_reference(self._reference)

    def manifest(self) -> ReceivedManifest:
        """The manifest; the tag is resolved once, so that the image stays the same if it moves."""
        if self._received is None:
            self._received = self._find_manifest()
        return self._received

    def _find_manifest(self) -> ReceivedManifest:
        wanted = self._reference.digest or self._reference.tag or DEFAULT_TAG
        received = self._client.manifest(wanted)
        where = f"{self.name}: manifest {received.digest}"
        if _media_type(received.data, where=where) not in INDEX_TYPES:
            return received
        child = choose_for_machine(
            parse_index(received.data, where=where),
            self._read_index,
            architecture=self._architecture,
            where=self.name,
        )
        return self._fetch_listed(child)

    def _read_index(self, descriptor: Descriptor) -> bytes:
        return self._fetch_listed(descriptor).data

    def _fetch_listed(self, descriptor: Descriptor) -> ReceivedManifest:
        found = self._client.manifest(descriptor.digest)
        if len(found.data) != descriptor.size:
            raise Damaged(
                f"{self.name}: manifest {descriptor.digest} does not have the size in its index"
            )
        return found

    def document(self, blob: Descriptor) -> bytes:
        return self._client.document(blob)

    def layer(self, blob: Descriptor, downloads: Downloads) -> Path:
        return downloads.complete(
            blob, lambda offset: self._client.blob(blob, ByteRange(start=offset, end=blob.size))
        )

    def part(self, blob: Descriptor, span: ByteRange) -> Iterator[bytes]:
        return self._client.blob(blob, span)


class FallbackSource:
    """Several sources of one image (mirrors): each is asked until one has what is requested."""

    def __init__(self, sources: Sequence[ImageSource]) -> None:
        self._sources = list(sources)
        self._received: ReceivedManifest | None = None

    @property
    def name(self) -> str:
        return self._sources[-1].name

    def manifest(self) -> ReceivedManifest:
        """The first manifest received is kept: a tag may differ between mirrors."""
        if self._received is None:
            self._received = self._first(lambda source: source.manifest())
        return self._received

    def document(self, blob: Descriptor) -> bytes:
        return self._first(lambda source: source.document(blob))

    def layer(self, blob: Descriptor, downloads: Downloads) -> Path:
        return self._first(lambda source: source.layer(blob, downloads))

    def part(self, blob: Descriptor, span: ByteRange) -> Iterator[bytes]:
        for source in self._sources[:-1]:
            try:
                for chunk in source.part(blob, span):
                    span = replace(span, start=span.start + len(chunk))
                    yield chunk
                return
            except (NetworkError, NotFound, MissingPrivilege, Damaged):
                continue  # the next source continues at the current offset
        yield from self._sources[-1].part(blob, span)

    def _first(self, ask: Callable[[ImageSource], _Found]) -> _Found:
        for source in self._sources[:-1]:
            try:
                return ask(source)
            except (NetworkError, NotFound, MissingPrivilege, Damaged):
                continue  # the next source may have it; only the last one's error is reported
        return ask(self._sources[-1])


def inspect_source(source: ImageSource) -> PublishedImage:
    """Read and check an image's manifest and config; no layer is fetched.

    Raises NotFound, MissingPrivilege, NetworkError, Damaged or Refused.
    """
    received = source.manifest()
    manifest = parse_manifest(received.data, where=f"{source.name}: manifest {received.digest}")
    where = f"{source.name}: config {manifest.config.digest}"
    if manifest.config.size > MAX_DOCUMENT:
        raise Damaged(f"{where} has {manifest.config.size} bytes: too large for a config")
    data = source.document(manifest.config)
    if f"sha256:{sha256(data).hexdigest()}" != manifest.config.digest:
        raise Damaged(
            f"{where}: the download has another digest",
            hint="the registry is damaged or malicious: report it to its administrator",
        )
    record = parse_record(data, where=where)
    check_consistent(manifest, record, where=source.name)
    return PublishedImage(digest=received.digest, manifest=manifest, record=record)


@contextmanager
def opened_source(
    reference: Reference,
    *,
    architecture: str | None = None,
    retry: RetryPolicy | None = None,
) -> Iterator[ImageSource]:
    """Open the source that ``reference`` names; its connections are open while the block lasts.

    ``architecture`` is an OCI name, by default this machine's; ``retry`` limits retries. Raises
    NotFound, Damaged, Refused, or UsageError for a reference into the store.
    """
    match reference:
        case LayoutReference():
            yield LayoutSource(reference, architecture=architecture or this_architecture())
        case RegistryReference():
            wanted = architecture or this_architecture()
            endpoints = find_endpoints(reference, read_rules())
            with ExitStack() as stack:
                sources = [
                    RegistrySource(_client(stack, endpoint, retry), reference, architecture=wanted)
                    for endpoint in endpoints
                ]
                yield sources[0] if len(sources) == 1 else FallbackSource(sources)
        case ArchiveReference():
            wanted = architecture or this_architecture()
            with open_archive(reference, architecture=wanted) as source:
                yield source
        case StoreReference():
            raise UsageError(
                f"store:{reference.name} names an image that is already in the store",
                hint=f"see: atoll inspect store:{reference.name}",
            )


def _media_type(data: bytes, *, where: str) -> str:
    """A document's media type; one without the field is an index if it has ``manifests``."""
    fields = parse_json_object(data, where=where, limit=MAX_DOCUMENT)
    if "mediaType" not in fields and "manifests" in fields:
        return INDEX
    return str(fields.get("mediaType", ""))


def _client(stack: ExitStack, endpoint: Endpoint, retry: RetryPolicy | None) -> RegistryClient:
    trust_of = trust_for(endpoint.address, insecure=bool(endpoint.insecure))
    http = stack.enter_context(HttpClient(retry=retry, trust_of=trust_of))

    def find_login() -> Credentials | None:
        return find_credentials(endpoint.host, endpoint.repository, helpers=read_helpers())

    return RegistryClient(endpoint, http, find_login)
