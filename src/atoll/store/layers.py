"""Records of the layers in a store, so that no layer is downloaded twice.

::

    ROOT/layers/<64 hex of the layer's diff_id>     gzip of lines of JSON; bytes are Latin-1 text
        {"format": 1}
        [path, kind, mode, uid, gid, mtime, xattrs, size, object or "", inline, target, device]
        …one line per member, in the order of the layer, whiteouts included; kinds as in tar
        {"size": <bytes of the unpacked layer>}

A record is not a GC root. It is valid only while all its objects exist; garbage collection may
remove any of them, and ``prune_layers`` then removes the record. A truncated or damaged record
counts as missing: the layer is downloaded again.
"""

from __future__ import annotations

import gzip
import json
import os
import stat
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atoll.base.errors import Damaged
from atoll.base.ids import BlobDigest, is_hex_digest, parse_object_id
from atoll.base.json import parse_json, parse_json_object
from atoll.host.fs import fsync_directory, make_directory, open_regular, read_at_most, remove_tree
from atoll.host.syscalls import syncfs
from atoll.tree.model import Metadata

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from atoll.base.ids import ObjectId
    from atoll.store.layout import Store

FORMAT = 1
RECORD_LIMIT = 1 << 30
"""Bytes of an unpacked record. A line has some hundred bytes, a layer at most a million members."""
_LEVEL = 1
_BATCH = 1 << 20
"""Bytes of lines that are parsed at once; one line at a time takes four times as long."""
_OBJECT = 8
_TYPES = [str, str, int, int, int, int, list, int, str, str, str, int]
_INVALID = (
    OSError,
    EOFError,
    zlib.error,
    LookupError,
    ValueError,
    TypeError,
    RecursionError,
    Damaged,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEntry:
    """One member of a layer. The content of a file is in ``object``, or in ``inline`` if small."""

    path: bytes
    kind: bytes
    metadata: Metadata
    size: int = 0
    object: ObjectId | None = None
    inline: bytes | None = None
    target: bytes = b""
    device: int = 0


class LayerRecord:
    """A record that is being written; created by ``writing_layer`` only."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file

    def add(self, entry: LayerEntry) -> None:
        """Add one member, in the order of the layer."""
        self._file.write(_format_entry(entry))

    def finish(self, *, size: int) -> None:
        """Write the last line; ``size`` is that of the unpacked layer in bytes."""
        self._file.write(json.dumps({"size": size}).encode() + b"\n")


@contextmanager
def writing_layer(path: Path) -> Iterator[LayerRecord]:
    """Write a record to ``path``; ``keep_layers`` moves it into the store after its objects.

    The caller ends it with ``finish``.
    """
    with gzip.GzipFile(path, "wb", compresslevel=_LEVEL, mtime=0) as file:
        file.write(json.dumps({"format": FORMAT}).encode() + b"\n")
        yield LayerRecord(file)


def keep_layers(store: Store, records: Mapping[BlobDigest, Path]) -> None:
    """Move records to their names, durably; the caller holds ``adding``."""
    folder = _folder(store)
    make_directory(folder, mode=0o700)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syncfs(handle)
    finally:
        os.close(handle)
    for diff_id, path in records.items():
        os.rename(path, _path(store, diff_id))
    fsync_directory(folder)


def find_layer(store: Store, diff_id: BlobDigest) -> int | None:
    """The unpacked size of a layer whose record and objects are all in the store, else None."""
    try:
        size, lines = _read_record(store, diff_id)
        names = [members[_OBJECT] for members in _parse_lines(lines)]
        objects = f"{store.objects}/"
        if all(not name or os.path.lexists(f"{objects}{name[:2]}/{name[2:]}") for name in names):
            return size
    except _INVALID:
        return None
    return None


def read_layer(store: Store, diff_id: BlobDigest) -> Iterator[LayerEntry]:
    """Yield the members of a layer that ``find_layer`` found. Raises Damaged if it is gone."""
    try:
        _, lines = _read_record(store, diff_id)
        for fields in _parse_lines(lines):
            entry = _parse_entry(fields)
            if entry.object and not os.path.lexists(store.object_path(entry.object)):
                raise FileNotFoundError(f"object {entry.object} is missing")
            yield entry
    except _INVALID as error:
        raise Damaged(
            f"the record of layer {diff_id} in {store.root} cannot be used: {error}",
            hint="pull the image again",
        ) from error


def prune_layers(store: Store) -> int:
    """Remove invalid records and return their number; the caller holds ``removing``."""
    try:
        names = os.listdir(_folder(store))
    except FileNotFoundError:
        return 0
    removed = 0
    for name in names:
        path = _folder(store) / name
        is_record = is_hex_digest(name) and not _is_not_regular(path)
        if not is_record or (
            find_layer(store, BlobDigest(f"sha256:{name}")) is None and _can_be_read(path)
        ):
            remove_tree(path)
            removed += 1
    return removed


def _is_not_regular(path: Path) -> bool:
    return not stat.S_ISREG(path.lstat().st_mode)


def _can_be_read(path: Path) -> bool:
    """A record that cannot be read may still be valid, so it is not removed."""
    try:
        with open_regular(path) as file:
            file.read(1)
    except OSError:
        return False
    return True


def _read_record(store: Store, diff_id: BlobDigest) -> tuple[int, list[bytes]]:
    """The layer's unpacked size and the lines of its members; gzip's CRC was checked."""
    with open_regular(_path(store, diff_id)) as packed, gzip.GzipFile(fileobj=packed) as file:
        data = read_at_most(file, RECORD_LIMIT + 1)
    if len(data) > RECORD_LIMIT:
        raise ValueError(f"it has more than {RECORD_LIMIT} bytes")
    head, *lines, last = data.splitlines()
    if parse_json_object(head, where="its head").get("format") != FORMAT:
        raise ValueError("it has another format")
    return int(str(parse_json_object(last, where="its end")["size"])), lines


def _parse_lines(lines: list[bytes]) -> Iterator[list[Any]]:
    """Yield the fields of each line."""
    batch: list[bytes] = []
    size = 0
    for number, line in enumerate(lines, 1):
        batch.append(line)
        size += len(line)
        if size >= _BATCH or number == len(lines):
            found: Any = parse_json(b"[%s]" % b",".join(batch), where="it")
            if len(found) != len(batch) or any([*map(type, each)] != _TYPES for each in found):
                raise ValueError("a line is not a member")
            yield from found
            batch, size = [], 0


def _format_entry(entry: LayerEntry) -> bytes:
    meta = entry.metadata
    xattrs = [(_text(key), _text(value)) for key, value in meta.xattrs]
    fields = (
        _text(entry.path),
        _text(entry.kind),
        *(meta.mode, meta.uid, meta.gid, meta.mtime),
        xattrs,
        entry.size,
        entry.object or "",
        _text(entry.inline or b""),
        _text(entry.target),
        entry.device,
    )
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def _parse_entry(fields: list[Any]) -> LayerEntry:
    path, kind, mode, uid, gid, mtime, xattrs, size, name, inline, target, device = fields
    return LayerEntry(
        path=_bytes(path),
        kind=_bytes(kind),
        metadata=Metadata(
            mode=mode,
            uid=uid,
            gid=gid,
            mtime=mtime,
            xattrs=tuple((_bytes(key), _bytes(value)) for key, value in xattrs),
        ),
        size=size,
        object=parse_object_id(name) if name else None,
        inline=_bytes(inline) or None,
        target=_bytes(target),
        device=device,
    )


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")


def _folder(store: Store) -> Path:
    return store.root / "layers"


def _path(store: Store, diff_id: BlobDigest) -> Path:
    return _folder(store) / diff_id.removeprefix("sha256:")
