"""Where an image comes from: an OCI layout or archive, a registry, or the first of several."""

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
from atoll.oci.image import PublishedImage, check_together
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
    """One image, somewhere. ``name`` is how a person says which."""

    @property
    def name(self) -> str: ...

    def manifest(self) -> ReceivedManifest:
        """The manifest of the image for this machine; raises NotFound, NetworkError, Damaged."""

    def document(self, blob: Descriptor) -> bytes:
        """A small blob; the caller checks it."""

    def layer(self, blob: Descriptor, downloads: Downloads) -> Path:
        """The file that holds a blob, whole and checked; ``downloads`` is where it may be put."""

    def part(self, blob: Descriptor, span: ByteRange) -> Iterator[bytes]:
        """Bytes of a blob as they come; the caller checks them. Safe for several threads.

        Raises NetworkError with the status 200 when there are no parts to have.
        """


class LayoutSource:
    """An image in an OCI layout; its layers are read where they are."""

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
    """An image at one place that speaks the registry's protocol."""

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
        """The tag is looked up once: from then on it is the same image, whatever the tag does."""
        if self._received is None:
            self._received = self._find_manifest()
        return self._received

    def _find_manifest(self) -> ReceivedManifest:
        wanted = self._reference.digest or self._reference.tag or DEFAULT_TAG
        received = self._client.manifest(wanted)
        where = f"{self.name}: manifest {received.digest}"
        if _kind_of(received.data, where=where) not in INDEX_TYPES:
            return received
        child = choose_for_machine(
            parse_index(received.data, where=where),
            self._read_index,
            architecture=self._architecture,
            where=self.name,
        )
        return self._of(child)

    def _read_index(self, descriptor: Descriptor) -> bytes:
        return self._of(descriptor).data

    def _of(self, descriptor: Descriptor) -> ReceivedManifest:
        found = self._client.manifest(descriptor.digest)
        if len(found.data) != descriptor.size:
            raise Damaged(
                f"{self.name}: manifest {descriptor.digest} does not have the size in its index"
            )
        return found

    def document(self, blob: Descriptor) -> bytes:
        return self._client.document(blob)

    def layer(self, blob: Descriptor, downloads: Downloads) -> Path:
        return downloads.bring(
            blob, lambda offset: self._client.blob(blob, ByteRange(start=offset, end=blob.size))
        )

    def part(self, blob: Descriptor, span: ByteRange) -> Iterator[bytes]:
        return self._client.blob(blob, span)


class FallbackSource:
    """The sources that may have an image, as one: each is asked until one has what is wanted."""

    def __init__(self, sources: Sequence[ImageSource]) -> None:
        self._sources = list(sources)
        self._received: ReceivedManifest | None = None

    @property
    def name(self) -> str:
        return self._sources[-1].name

    def manifest(self) -> ReceivedManifest:
        """The first that came stays the image: mirrors may differ in what a tag is."""
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
                continue  # the next one goes on where this one stopped
        yield from self._sources[-1].part(blob, span)

    def _first(self, ask: Callable[[ImageSource], _Found]) -> _Found:
        for source in self._sources[:-1]:
            try:
                return ask(source)
            except (NetworkError, NotFound, MissingPrivilege, Damaged):
                continue  # the next one may have it; the last one's error is told
        return ask(self._sources[-1])


def inspect_source(source: ImageSource) -> PublishedImage:
    """What an image says of itself: manifest and config, checked; no layer is fetched."""
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
    check_together(manifest, record, where=source.name)
    return PublishedImage(digest=received.digest, manifest=manifest, record=record)


@contextmanager
def opened_source(
    reference: Reference,
    *,
    architecture: str | None = None,
    patience: RetryPolicy | None = None,
) -> Iterator[ImageSource]:
    """The source that ``reference`` names, its connections open while the block lasts."""
    match reference:
        case LayoutReference():
            yield LayoutSource(reference, architecture=architecture or this_architecture())
        case RegistryReference():
            wanted = architecture or this_architecture()
            endpoints = find_endpoints(reference, read_rules())
            with ExitStack() as stack:
                sources = [
                    RegistrySource(
                        _client(stack, endpoint, patience), reference, architecture=wanted
                    )
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


def _kind_of(data: bytes, *, where: str) -> str:
    """What a manifest says it is; one that does not say is told apart by what it has."""
    fields = parse_json_object(data, where=where, limit=MAX_DOCUMENT)
    if "mediaType" not in fields and "manifests" in fields:
        return INDEX
    return str(fields.get("mediaType", ""))


def _client(stack: ExitStack, endpoint: Endpoint, patience: RetryPolicy | None) -> RegistryClient:
    trust_of = trust_for(endpoint.address, insecure=bool(endpoint.insecure))
    web = stack.enter_context(HttpClient(patience=patience, trust_of=trust_of))

    def find_login() -> Credentials | None:
        return find_credentials(endpoint.host, endpoint.repository, helpers=read_helpers())

    return RegistryClient(endpoint, web, find_login)
