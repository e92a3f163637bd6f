"""Layer records: written while a layer is unpacked, later read instead of the layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.errors import Interrupted
from atoll.oci.tar_reader import TarMember
from atoll.store.layers import LayerEntry
from atoll.tree.model import Regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from threading import Event

    from atoll.oci.apply_layers import Layer
    from atoll.store.layers import LayerRecord


class RecordedLayer:
    """Wraps ``layer`` and adds each member to ``record``; raises Interrupted if ``stop`` is set."""

    def __init__(self, layer: Layer, record: LayerRecord, stop: Event) -> None:
        self._layer = layer
        self._record = record
        self._stop = stop
        self._node: Regular | None = None

    def __iter__(self) -> Iterator[TarMember]:
        for member in self._layer:
            if self._stop.is_set():
                raise Interrupted("stopped")
            self._node = None
            yield member
            self._record.add(_entry(member, self._node))

    def regular(self, member: TarMember) -> Regular:
        self._node = self._layer.regular(member)
        return self._node


class StoredLayer:
    """A layer whose record and objects are already in the store."""

    def __init__(self, entries: Iterable[LayerEntry]) -> None:
        self._entries = entries
        self._entry: LayerEntry | None = None

    def __iter__(self) -> Iterator[TarMember]:
        for entry in self._entries:
            self._entry = entry
            yield TarMember(
                path=entry.path,
                kind=entry.kind,
                metadata=entry.metadata,
                size=entry.size,
                target=entry.target,
                device=entry.device,
            )

    def regular(self, member: TarMember) -> Regular:
        assert self._entry is not None
        return Regular(member.metadata, member.size, self._entry.object, self._entry.inline)


def _entry(member: TarMember, node: Regular | None) -> LayerEntry:
    return LayerEntry(
        path=member.path,
        kind=member.kind,
        metadata=member.metadata,
        size=member.size,
        object=node.object if node else None,
        inline=node.inline if node else None,
        target=member.target,
        device=member.device,
    )
