"""Which image of several is this machine's: indexes, and indexes in indexes, walked within bounds.

Whatever in an index is no image for this machine is passed over: attestations, kinds that are not
known, other systems, a digest that Atoll cannot check. Of several that would do, the one that every
machine of the architecture runs comes first; one for newer processors only (``amd64/v3``) is never
taken by itself.
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
"""What OCI calls a machine, where that is not what the kernel says."""

MAX_DEPTH = 4
MAX_INDEXES = 16
_REFERENCE_TYPE = "vnd.docker.reference.type"
_VARIANTS: dict[str, tuple[str, ...]] = {
    "amd64": ("", "v1"),
    "arm64": ("", "v8"),
    "arm": ("v7", "", "v6", "v5"),
}
"""What runs on every machine that Debian's port is for, best first."""


def this_architecture() -> str:
    machine = platform.machine()
    return ARCHITECTURES.get(machine, machine)


@dataclass(slots=True)
class _Search:
    """``read`` gives the bytes of an index below, checked against its digest."""

    architecture: str
    read: Callable[[Descriptor], bytes]
    where: str
    indexes: int = 0

    def find(self, index: ImageIndex, depth: int) -> Iterator[tuple[int, Descriptor]]:
        """Images that would do, with their rank (0 is best)."""
        for each in index.manifests:
            rank = self._rank(each)
            if each.media_type == MANIFEST and rank is not None:
                yield rank, each
        for each in index.manifests:
            if each.media_type in INDEX_TYPES and self._may_lead_there(each):
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
            return len(variants)  # it does not say: after all that do
        if (found.os, found.architecture) != ("linux", self.architecture):
            return None
        return variants.index(found.variant) if found.variant in variants else None

    def _may_lead_there(self, descriptor: Descriptor) -> bool:
        found = descriptor.platform
        return found is None or (found.os, found.architecture) == ("linux", self.architecture)


def choose_tagged(index: ImageIndex, tag: str | None, *, place: str, kind: str) -> ImageIndex:
    """The entries of an index that are the image ``tag``; without one, the only image.

    More than one of the same tag are for several machines. ``place`` and ``kind`` are what a person
    writes for it. Raises NotFound, UsageError when there are several, or Refused.
    """
    found = [each for each in index.manifests if tag in (None, each.annotations.get(REF_NAME))]
    tags = sorted({each.annotations.get(REF_NAME, "(none)") for each in index.manifests})
    if tag is None:
        images = [each for each in found if each.media_type in (MANIFEST, *INDEX_TYPES)]
        found = images or found
    if not found:
        if tag is not None and any(tag_of(each) == tag for each in index.others):
            raise Refused(f"{place}: the image {tag} has no sha256 digest")
        raise NotFound(
            f"{place} has no image {tag or ''}".rstrip(),
            hint=f"it has: {', '.join(tags)}" if tags else None,
        )
    names = ", ".join(tags)
    if (
        tag is None
        and len(found) > 1
        and len({each.annotations.get(REF_NAME) for each in found}) > 1
    ):
        raise UsageError(
            f"{place} has {len(found)} images",
            hint=f"choose one: {kind}:{place}:TAG, one of {names}",
        )
    return ImageIndex(manifests=tuple(found))


def tag_of(entry: Mapping[str, object]) -> object:
    annotations = entry.get("annotations")
    return annotations.get(REF_NAME) if isinstance(annotations, dict) else None


def choose_for_machine(
    index: ImageIndex, read: Callable[[Descriptor], bytes], *, architecture: str, where: str
) -> Descriptor:
    """The manifest of the image for ``architecture``. Raises NotFound naming what there is."""
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


def choose_in(
    found: ImageIndex, read: Callable[[Descriptor], bytes], *, architecture: str, where: str
) -> Descriptor:
    """The image manifest that the entries of one tag lead to; one that is named alone need not be
    for this machine. Raises NotFound, Damaged or Refused."""
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
    """What an entry of an index is, for people."""
    found = descriptor.platform
    if found is None:
        return "an index" if descriptor.media_type in INDEX_TYPES else "unknown"
    return "/".join(word for word in (found.os, found.architecture, found.variant) if word)
