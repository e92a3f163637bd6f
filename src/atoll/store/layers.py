"""Which layers are in a store: what each one holds, so that no layer is ever fetched twice.

::

    ROOT/layers/<64 hex of the layer's diff_id>     gzip of lines of JSON; bytes are Latin-1 text
        {"format": 1}
        [path, kind, mode, uid, gid, mtime, xattrs, size, object or "", inline, target, device]
        …one line a member, in the order of the layer, whiteouts included; kinds as in a tar
        {"size": <bytes of the unpacked layer>}

A record keeps nothing alive. It counts only while all objects it names are there; collection may
remove any of them, and ``prune_layers`` then removes what no longer counts. A record that is cut or
damaged is one that is not there: the layer is fetched again.
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
"""Bytes of an unpacked record: a line has some hundred, and a layer a million members at most."""
_LEVEL = 1
_BATCH = 1 << 20
"""Bytes of lines that are parsed at once: one by one takes four times as long."""
_OBJECT = 8
_TYPES = [str, str, int, int, int, int, list, int, str, str, str, int]
_BROKEN = (
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
    """One member of a layer; the content of a file is in ``object``, or ``inline`` when small."""

    path: bytes
    kind: bytes
    metadata: Metadata
    size: int = 0
    object: ObjectId | None = None
    inline: bytes | None = None
    target: bytes = b""
    device: int = 0


class LayerRecord:
    """A record that is being written; made by ``writing_layer`` only."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file

    def add(self, entry: LayerEntry) -> None:
        self._file.write(_format_entry(entry))

    def finish(self, *, size: int) -> None:
        """``size`` is that of the unpacked layer."""
        self._file.write(json.dumps({"size": size}).encode() + b"\n")


@contextmanager
def writing_layer(path: Path) -> Iterator[LayerRecord]:
    """Write a record to ``path``; ``keep_layers`` takes it there when its objects are in the store.

    ``finish`` of the record has to be the last thing done with it.
    """
    with gzip.GzipFile(path, "wb", compresslevel=_LEVEL, mtime=0) as file:
        file.write(json.dumps({"format": FORMAT}).encode() + b"\n")
        yield LayerRecord(file)


def keep_layers(store: Store, records: Mapping[BlobDigest, Path]) -> None:
    """Give records their names, durably; the caller holds ``adding``."""
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
    """The unpacked size of a layer that is here with all its objects; None when it is not."""
    try:
        size, lines = _read_record(store, diff_id)
        names = [members[_OBJECT] for members in _parse_lines(lines)]
        objects = f"{store.objects}/"
        if all(not name or os.path.lexists(f"{objects}{name[:2]}/{name[2:]}") for name in names):
            return size
    except _BROKEN:
        return None
    return None


def read_layer(store: Store, diff_id: BlobDigest) -> Iterator[LayerEntry]:
    """The members of a layer that ``find_layer`` has found; raises Damaged when it has gone."""
    try:
        _, lines = _read_record(store, diff_id)
        for fields in _parse_lines(lines):
            entry = _parse_entry(fields)
            if entry.object and not os.path.lexists(store.object_path(entry.object)):
                raise FileNotFoundError(f"object {entry.object} is missing")
            yield entry
    except _BROKEN as error:
        raise Damaged(
            f"the record of layer {diff_id} in {store.root} cannot be used: {error}",
            hint="pull the image again",
        ) from error


def prune_layers(store: Store) -> int:
    """Remove all records that do not count; how many. The caller holds ``removing``."""
    try:
        names = os.listdir(_folder(store))
    except FileNotFoundError:
        return 0
    gone = 0
    for name in names:
        path = _folder(store) / name
        known = is_hex_digest(name) and not _is_no_file(path)
        if not known or (
            find_layer(store, BlobDigest(f"sha256:{name}")) is None and _can_be_read(path)
        ):
            remove_tree(path)
            gone += 1
    return gone


def _is_no_file(path: Path) -> bool:
    return not stat.S_ISREG(path.lstat().st_mode)


def _can_be_read(path: Path) -> bool:
    """What cannot be read may be whole."""
    try:
        with open_regular(path) as file:
            file.read(1)
    except OSError:
        return False
    return True


def _read_record(store: Store, diff_id: BlobDigest) -> tuple[int, list[bytes]]:
    """The unpacked size of the layer, and a line for each member. The checksum was compared."""
    with open_regular(_path(store, diff_id)) as packed, gzip.GzipFile(fileobj=packed) as file:
        data = read_at_most(file, RECORD_LIMIT + 1)
    if len(data) > RECORD_LIMIT:
        raise ValueError(f"it has more than {RECORD_LIMIT} bytes")
    head, *lines, last = data.splitlines()
    if parse_json_object(head, where="its head").get("format") != FORMAT:
        raise ValueError("it has another format")
    return int(str(parse_json_object(last, where="its end")["size"])), lines


def _parse_lines(lines: list[bytes]) -> Iterator[list[Any]]:
    """The fields in each line."""
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
