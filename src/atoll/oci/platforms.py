"""Choose this machine's image from an index, which may contain further indexes.

Entries that are not an image for this machine are skipped: attestations, unknown media types, other
operating systems, digests that Atoll cannot check. Among several matches, the variant that every
machine of the architecture can run wins; one that needs a newer processor (``amd64/v3``) is never
chosen automatically.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, NotFound, Refused, UsageError
from atoll.oci.manifest import INDEX_TYPES, MANIFEST, REF_NAME, ImageIndex, parse_index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from atoll.oci.manifest import Descriptor

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
"""Kernel machine name → OCI architecture (Go's GOARCH), where the two differ."""

MAX_DEPTH = 4
MAX_INDEXES = 16
_REFERENCE_TYPE = "vnd.docker.reference.type"
_VARIANTS: dict[str, tuple[str, ...]] = {
    "amd64": ("", "v1"),
    "arm64": ("", "v8"),
    "arm": ("v7", "", "v6", "v5"),
}
"""For each architecture, the variants that run on every machine of the Debian port, best first."""


def this_architecture() -> str:
    """The OCI name of the architecture that this process runs on."""
    machine = platform.machine()
    return ARCHITECTURES.get(machine, machine)


@dataclass(slots=True)
class _Search:
    """Bounded search; ``read`` returns the bytes of a nested index, checked against its digest."""

    architecture: str
    read: Callable[[Descriptor], bytes]
    where: str
    indexes: int = 0

    def find(self, index: ImageIndex, depth: int) -> Iterator[tuple[int, Descriptor]]:
        """Yield matching manifests with their rank (0 is best)."""
        for each in index.manifests:
            rank = self._rank(each)
            if each.media_type == MANIFEST and rank is not None:
                yield rank, each
        for each in index.manifests:
            if each.media_type in INDEX_TYPES and self._may_contain_match(each):
                yield from self.find(self._open(each, depth), depth + 1)

    def _open(self, descriptor: Descriptor, depth: int) -> ImageIndex:
        self.indexes += 1
        if depth >= MAX_DEPTH or self.indexes > MAX_INDEXES:
            raise Damaged(
                f"{self.where}: its indexes are nested more than {MAX_DEPTH} deep,"
                f" or are more than {MAX_INDEXES}",
                hint="use the digest of the image",
            )
        return parse_index(self.read(descriptor), where=f"{self.where}: {descriptor.digest}")

    def _rank(self, descriptor: Descriptor) -> int | None:
        if descriptor.artifact_type or _REFERENCE_TYPE in descriptor.annotations:
            return None
        found = descriptor.platform
        variants = _VARIANTS.get(self.architecture, ("",))
        if found is None:
            return len(variants)  # no platform given: ranks after every explicit match
        if (found.os, found.architecture) != ("linux", self.architecture):
            return None
        return variants.index(found.variant) if found.variant in variants else None

    def _may_contain_match(self, descriptor: Descriptor) -> bool:
        found = descriptor.platform
        return found is None or (found.os, found.architecture) == ("linux", self.architecture)


def choose_tagged(index: ImageIndex, tag: str | None, *, path: str, kind: str) -> ImageIndex:
    """The entries of an index with ``tag``; without a tag, those of the only image.

    Several entries may share a tag: they are for different machines. Error messages name the image
    by ``path`` and ``kind`` (``oci``, ``oci-archive``). Raises NotFound, UsageError if there are
    several images, or Refused.
    """
    found = [each for each in index.manifests if tag in (None, each.annotations.get(REF_NAME))]
    tags = sorted({each.annotations.get(REF_NAME, "(none)") for each in index.manifests})
    if tag is None:
        images = [each for each in found if each.media_type in (MANIFEST, *INDEX_TYPES)]
        found = images or found
    if not found:
        if tag is not None and any(tag_of(each) == tag for each in index.others):
            raise Refused(f"{path}: the image {tag} has no sha256 digest")
        raise NotFound(
            f"{path} has no image {tag or ''}".rstrip(),
            hint=f"it has: {', '.join(tags)}" if tags else None,
        )
    names = ", ".join(tags)
    if (
        tag is None
        and len(found) > 1
        and len({each.annotations.get(REF_NAME) for each in found}) > 1
    ):
        raise UsageError(
            f"{path} has {len(found)} images",
            hint=f"choose one: {kind}:{path}:TAG, one of {names}",
        )
    return ImageIndex(manifests=tuple(found))


def tag_of(entry: Mapping[str, object]) -> object:
    """The tag of an index entry that was not parsed into a Descriptor."""
    annotations = entry.get("annotations")
    return annotations.get(REF_NAME) if isinstance(annotations, dict) else None


def choose_for_machine(
    index: ImageIndex, read: Callable[[Descriptor], bytes], *, architecture: str, where: str
) -> Descriptor:
    """The manifest for ``architecture``. Raises NotFound with a list of what the index has."""
    search = _Search(architecture, read, where)
    best = min(search.find(index, 1), key=lambda each: each[0], default=None)
    if best is None:
        names = sorted({describe(each) for each in index.manifests})
        names += ["others"] if index.others else []
        raise NotFound(
            f"{where} has no image for linux/{architecture}",
            hint=f"it has: {', '.join(names) or 'nothing'}",
        )
    return best[1]


def choose_manifest(
    found: ImageIndex, read: Callable[[Descriptor], bytes], *, architecture: str, where: str
) -> Descriptor:
    """The image manifest behind the entries of one tag.

    A manifest that is the only entry is taken without a check of its platform. Raises NotFound,
    Damaged or Refused.
    """
    if len(found.manifests) != 1:
        return choose_for_machine(found, read, architecture=architecture, where=where)
    only = found.manifests[0]
    if only.media_type == MANIFEST:
        return only
    if only.media_type not in INDEX_TYPES:
        raise Refused(
            f"{where}: {only.digest} is not an image manifest",
            hint="only images from atoll build are supported",
        )
    index = parse_index(read(only), where=f"{where}: {only.digest}")
    return choose_for_machine(index, read, architecture=architecture, where=where)


def describe(descriptor: Descriptor) -> str:
    """An index entry's platform for messages: ``linux/arm64/v8``."""
    found = descriptor.platform
    if found is None:
        return "an index" if descriptor.media_type in INDEX_TYPES else "unknown"
    return "/".join(word for word in (found.os, found.architecture, found.variant) if word)
