"""Images and layouts that would take unlimited memory or time are refused within bounds.

Tests of memory run in a process with an address space of one GiB.
"""

from __future__ import annotations

import gzip
import json
import os
import socket
import struct
import subprocess
import sys
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import AtollError, Damaged, NotFound, Refused
from atoll.base.ids import TreeId
from atoll.base.report import NullReporter
from atoll.oci.config import parse_record
from atoll.oci.decompress import LayerInput
from atoll.oci.fetch import fetch_image
from atoll.oci.layout import inspect_layout, measure_layout
from atoll.oci.manifest import (
    CONFIG,
    LAYER_GZIP,
    LAYER_ZSTD,
    MAX_LAYERS,
    parse_index,
    parse_manifest,
)
from atoll.oci.pull import pull_image
from atoll.oci.reference import ArchiveReference, LayoutReference
from atoll.oci.source import opened_source
from atoll.oci.tar_reader import TarReader
from atoll.oci.toc import FRAME_LIMIT, PACKED_FRAME_LIMIT, parse_contents
from atoll.store.layout import open_store
from atoll.tree.verity import verity_digest
from tests.crafted import Crafted, tar
from tests.images import publish, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

CODE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from atoll.base.errors import AtollError
from atoll.oci.layout import measure_layout
from atoll.oci.reference import LayoutReference
try:
    measure_layout(LayoutReference(directory=sys.argv[1]))
except AtollError as error:
    print(type(error).__name__, error.message)
"""


def measured(layout: Path) -> str:
    """Read a layout in a process with one GiB of address space; returns its output."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(layout)],
        env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def header(name: bytes, kind: bytes, size: int) -> bytes:
    """A ustar header."""
    info = tarfile.TarInfo(name.decode("latin-1"))
    info.type, info.size = kind, size
    return info.tobuf(tarfile.USTAR_FORMAT)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def long_named(name: bytes) -> bytes:
    return header(b"long", b"L", len(name)) + padded(name) + header(b"x", b"0", 0)


def pax(*records: tuple[bytes, bytes]) -> bytes:
    lines = []
    for key, value in records:
        size = len(key) + len(value) + 3
        while len(str(size)) + len(key) + len(value) + 3 != size:
            size = len(str(size)) + len(key) + len(value) + 3
        lines.append(b"%d %s=%s\n" % (size, key, value))
    data = b"".join(lines)
    return header(b"pax", b"x", len(data)) + padded(data)


def many_xattrs(start: int, count: int) -> bytes:
    return pax(*((b"SCHILY.xattr.user.%d" % number, b"") for number in range(start, start + count)))


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "directories that are only part of names": (
        lambda: b"".join(
            long_named(b"/".join(b"%x" % (number + part) for part in range(200)))
            for number in range(2000)
        ),
        "directories have no entry of their own",
    ),
    "a name of 2,000 directories": (
        lambda: long_named(b"a/" * 2000 + b"b"),
        "256 directories deep",
    ),
    "extended headers before one member": (
        lambda: b"".join(many_xattrs(n * 4000, 4000) for n in range(60)),
        "more extended attributes|it has too many extended headers",
    ),
    "empty extended headers": (lambda: pax() * 50_000, "it has too many extended headers"),
    "global headers": (lambda: header(b"g", b"g", 512) + bytes(512) * 1, ""),
    "many global headers": (
        lambda: (header(b"g", b"g", 512) + b"x" * 512) * 500,
        "too many extended",
    ),
    "long names before one member": (
        lambda: (header(b"l", b"L", 9) + padded(b"x" * 9)) * 500,
        "too many extended",
    ),
    "an extended header of a gigabyte": (
        lambda: header(b"p", b"x", 1 << 30),
        "header of 1073741824",
    ),
    "extended attributes of many members": (
        lambda: many_xattrs(0, 3000).join(header(b"f%d" % n, b"0", 0) for n in range(-1, 300)),
        "too many extended attributes",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_layer_never_takes_much_memory(name: str, tmp_path: Path) -> None:
    bomb, why = BOMBS[name]
    Crafted(archives=[bomb() + bytes(1024)]).write(tmp_path)
    output = measured(tmp_path)
    assert output.startswith("Damaged")
    if why:
        with pytest.raises(Damaged, match=why):
            measure_layout(LayoutReference(directory=str(tmp_path)))


WINDOWS = {
    "a window of 2 GiB": struct.pack("<IBB", 0xFD2FB528, 0x00, (31 - 10) << 3) + b"\x01\x00\x00",
    "a window of 256 MiB": struct.pack("<IBB", 0xFD2FB528, 0x00, (28 - 10) << 3) + b"\x01\x00\x00",
}


@pytest.mark.parametrize("name", WINDOWS)
def test_a_frame_that_wants_a_large_window_is_refused(name: str, tmp_path: Path) -> None:
    Crafted(archives=[bytes(1024)], blobs=[WINDOWS[name]]).write(tmp_path)
    assert measured(tmp_path).startswith("Damaged layer")


def test_empty_gzip_members_are_refused(tmp_path: Path) -> None:
    blob = gzip.compress(b"", mtime=0) * 400_000
    image = Crafted(archives=[bytes(1024)], blobs=[blob], media_type=LAYER_GZIP, size=64 << 20)
    image.write(tmp_path)
    with pytest.raises(Damaged, match="1000 of its frames are empty"):
        measure_layout(LayoutReference(directory=str(tmp_path)))


def test_a_gzip_layer_of_many_members_is_read(tmp_path: Path) -> None:
    data = tar(("etc/motd", tarfile.REGTYPE, os.urandom(9000))) + bytes(1 << 20)
    pieces = [data[at : at + 1000] for at in range(0, len(data), 1000)]
    packed = b"".join(gzip.compress(piece) for piece in pieces) + bytes(700)
    path = tmp_path / "layer"
    for blob in (packed, gzip.compress(data), gzip.compress(data) + gzip.compress(b"")):
        path.write_bytes(blob)
        with path.open("rb") as file:
            layer = LayerInput(file, LAYER_GZIP, limit=len(data), where="it")
            found = b""
            while piece := layer.read(777):
                found += piece
        assert found == data


@pytest.mark.parametrize("cut", [0, 5, 12, -1, -5, -9])
def test_a_gzip_layer_that_is_cut_is_damaged(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "layer"
    path.write_bytes(gzip.compress(os.urandom(50_000))[: cut or None] + (b"" if cut else b"x"))
    with path.open("rb") as file:
        layer = LayerInput(file, LAYER_GZIP, limit=1 << 20, where="it")
        with pytest.raises(Damaged, match="cannot be decompressed"):
            while layer.read(1 << 16):
                pass


def test_a_table_of_contents_has_bounds() -> None:
    def packed(data: bytes) -> bytes:
        frame = zstandard.ZstdCompressor().compress(data)
        head = bytes.fromhex("28b52ffd60000303200000")
        return head + struct.pack("<II", 0x184D2A5A, len(frame)) + frame

    magic = b"atoll contents 1"
    wrong = {
        "objects are more": struct.pack("<16sII", magic, 1, 2_000_000) + struct.pack("<I", 1),
        "frames are more": struct.pack("<16sII", magic, 1, 0) + struct.pack("<I", 2_000_000),
        "decompresses to": bytes(129 << 20),
    }
    for message, data in wrong.items():
        with pytest.raises(Damaged, match=message):
            parse_contents(packed(data), tree=TreeId("0" * 64), layers=[9], where="it")
    image = b"no tree"
    for size, content in ((PACKED_FRAME_LIMIT + 1, 5), (1 << 32 - 1, 5), (9, FRAME_LIMIT + 1)):
        data = struct.pack("<16sIIIII", magic, 1, 0, 1, size & 0xFFFFFFFF, content) + image
        with pytest.raises(Damaged, match="frames of a layer"):
            tree = TreeId(verity_digest(image))
            parse_contents(packed(data), tree=tree, layers=[size], where="it")


# --- what lies on a stick --------------------------------------------------------------------


def linked(path: Path) -> None:
    path.symlink_to("/dev/zero")


def piped(path: Path) -> None:
    os.mkfifo(path)


def socketed(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = os.open(path.parent, os.O_PATH)
        made.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)


def huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


TRAPS: dict[str, Callable[[Path], None]] = {
    "a link to /dev/zero": linked,
    "a link to a terminal": lambda path: path.symlink_to("/dev/tty"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to a file": lambda path: path.symlink_to("/etc/passwd"),
    "a pipe": piped,
    "a socket": socketed,
    "a directory": Path.mkdir,
    "a file with a hole of a terabyte": huge,
}


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("where", ["index.json", "manifest", "config", "layer", "contents"])
def test_a_strange_file_on_a_stick_is_refused(where: str, trap: str, tmp_path: Path) -> None:
    image = publish(tmp_path, {"/etc/motd": b"content" * 999})
    published = inspect_layout(image.layout)
    layout = Path(image.layout.directory)
    digests = {
        "manifest": published.digest,
        "config": published.manifest.config.digest,
        "layer": published.manifest.layers[0].digest,
        "contents": published.manifest.layers[-1].digest,
    }
    path = layout / "index.json"
    if where in digests:
        path = layout / "blobs" / "sha256" / digests[where].removeprefix("sha256:")
    path.unlink()
    TRAPS[trap](path)
    store = open_store(tmp_path / "store", create=True)
    before = snapshot(store.root)
    with pytest.raises(AtollError):
        measure_layout(image.layout)
    if where == "contents":  # a pull works without the table of contents
        return
    with pytest.raises(AtollError) as caught, opened_source(image.layout) as source:
        pull_image(source, store, NullReporter())
    assert caught.value.message.isprintable()
    assert snapshot(store.root) == before


@pytest.mark.parametrize("trap", TRAPS)
def test_a_strange_archive_is_refused(trap: str, tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    TRAPS[trap](path)
    with (
        pytest.raises((Refused, NotFound)),
        opened_source(ArchiveReference(file=str(path))) as source,
    ):
        source.manifest()


def test_a_layer_with_a_hole_is_refused_before_it_is_hashed(tmp_path: Path) -> None:
    Crafted(archives=[bytes(1024)]).write(tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    blobs = tmp_path / "blobs" / "sha256"
    manifest = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_text())
    manifest["layers"][0]["size"] = 1 << 40
    data = json.dumps(manifest).encode()
    from tests.fake_registry import digest_of

    (blobs / digest_of(data)[7:]).write_bytes(data)
    os.truncate(blobs / manifest["layers"][0]["digest"][7:], 1 << 40)
    index["manifests"][0] |= {"digest": digest_of(data), "size": len(data)}
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(Damaged, match="more than the 1024 that they unpack to"):
        measure_layout(LayoutReference(directory=str(tmp_path)))


# --- what an image says of itself ------------------------------------------------------------


@pytest.mark.parametrize("name", ["n" * 70_000, "a\x1b[2Jb", "a\nb", "../../x", "a/b", "\u202eabc"])
def test_a_name_that_no_image_has_is_refused_before_anything_is_taken(
    name: str, tmp_path: Path
) -> None:
    Crafted(archives=[tar(("etc/motd", tarfile.REGTYPE, b"x"))], name=name).write(tmp_path / "l")
    store = open_store(tmp_path / "store", create=True)
    before = snapshot(store.root)
    reference = LayoutReference(directory=str(tmp_path / "l"))
    with pytest.raises(Refused, match="its name is not valid") as caught:
        fetch_image(reference, lambda: store, NullReporter())
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500
    assert snapshot(store.root) == before


def test_an_image_made_from_ours_says_what_it_is(tmp_path: Path) -> None:
    image = publish(tmp_path, {"/etc/motd": b"content" * 999})
    blobs = Path(image.layout.directory) / "blobs" / "sha256"
    config = inspect_layout(image.layout).manifest.config
    fields = json.loads((blobs / config.digest[7:]).read_text())
    fields["history"].append({"created_by": "/bin/sh -c apt-get install htop"})
    fields["rootfs"]["diff_ids"].append("sha256:" + "0" * 64)
    with pytest.raises(Refused, match="it was made FROM one") as caught:
        parse_record(json.dumps(fields).encode(), where="config")
    assert "from =" in (caught.value.hint or "")


def test_bytes_that_are_no_tree_get_no_name(tmp_path: Path) -> None:
    """The digest is the declared one, but the bytes are not a valid tree."""
    noise = b"\x5a" * 9000
    tree = verity_digest(noise)
    magic = struct.pack("<16sIII", b"atoll contents 1", 1, 0, 1)
    layer = zstandard.ZstdCompressor().compress(bytes(1024))
    table = magic + struct.pack("<II", len(layer), 1024) + noise
    frame = zstandard.ZstdCompressor().compress(table)
    head = bytes.fromhex("28b52ffd60000303200000")
    contents = head + struct.pack("<II", 0x184D2A5A, len(frame)) + frame
    Crafted(archives=[bytes(1024), bytes(1024)], blobs=[layer, contents], tree=tree).write(
        tmp_path / "l"
    )
    _mark_contents(tmp_path / "l")
    store = open_store(tmp_path / "store", create=True)
    before = snapshot(store.root)
    with (
        pytest.raises(Damaged, match="the layers contain the tree"),
        opened_source(LayoutReference(directory=str(tmp_path / "l"))) as source,
    ):
        pull_image(source, store, NullReporter())
    assert snapshot(store.root) == before
    assert not list(store.images.iterdir())


def _mark_contents(layout: Path) -> None:
    """Mark the last layer as the table of contents."""
    from tests.fake_registry import digest_of

    blobs = layout / "blobs" / "sha256"
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_text())
    manifest["layers"][-1]["annotations"] = {"dev.atoll.contents": "1"}
    data = json.dumps(manifest).encode()
    (blobs / digest_of(data)[7:]).write_bytes(data)
    index["manifests"][0] |= {"digest": digest_of(data), "size": len(data)}
    (layout / "index.json").write_text(json.dumps(index))


def test_too_many_layers_are_refused() -> None:
    layer = {"mediaType": LAYER_ZSTD, "digest": "sha256:" + "0" * 64, "size": 1}
    fields = {
        "schemaVersion": 2,
        "config": {**layer, "mediaType": CONFIG},
        "layers": [layer] * (MAX_LAYERS + 1),
    }
    with pytest.raises(Damaged, match="129 layers"):
        parse_manifest(json.dumps(fields).encode(), where="it")


NUMBERS = ("9" * 4301, "1e999", "-1", "true", '"1"', "NaN", str(1 << 61), "1.5", "null", "[1]")


@pytest.mark.parametrize("number", NUMBERS)
def test_a_size_that_is_none_is_damaged(number: str) -> None:
    layer = f'{{"mediaType": "{LAYER_ZSTD}", "digest": "sha256:{"0" * 64}", "size": {number}}}'
    config = f'{{"mediaType": "{CONFIG}", "digest": "sha256:{"0" * 64}", "size": 1}}'
    text = f'{{"schemaVersion": 2, "config": {config}, "layers": [{layer}]}}'
    with pytest.raises(Damaged):
        parse_manifest(text.encode(), where="it")


# --- any bytes at all ------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.integers()
    | st.text(max_size=9)
    | st.sampled_from(["sha256:" + "0" * 64, LAYER_ZSTD, CONFIG, "linux", "amd64"]),
    lambda below: (
        st.lists(below, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "schemaVersion",
                    "mediaType",
                    "manifests",
                    "layers",
                    "config",
                    "digest",
                    "size",
                    "platform",
                    "os",
                    "architecture",
                    "annotations",
                    "Labels",
                    "rootfs",
                    "diff_ids",
                    "history",
                    "created",
                    "created_by",
                    "Cmd",
                    "variant",
                    "artifactType",
                ]
            ),
            below,
            max_size=6,
        )
    ),
    max_leaves=25,
)


@given(JSON, st.sampled_from([parse_index, parse_manifest, parse_record]))
def test_any_json_is_an_image_or_refused(value: object, parse: Callable[..., object]) -> None:
    if isinstance(value, dict):
        value["schemaVersion"] = 2
    with suppress(Damaged, Refused):
        parse(json.dumps(value).encode(), where="it")


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int, /) -> bytes:
        piece, self._data = self._data[:size], self._data[size:]
        return piece


@given(
    st.lists(
        st.builds(
            lambda kind, size, body, fix: (kind, size, body, fix),
            st.sampled_from([b"0", b"5", b"x", b"g", b"L", b"K", b"1", b"2", b"3", b"7", b"S"]),
            st.integers(0, 700),
            st.binary(max_size=700)
            | st.sampled_from([b"11 path=ab\n", b"20 SCHILY.xattr.a=b\n", b"9 size=9\n"]),
            st.booleans(),
        ),
        max_size=6,
    )
)
def test_any_headers_are_a_tar_or_damaged(parts: list[tuple[bytes, int, bytes, bool]]) -> None:
    data = b"".join(
        header(b"name", kind, len(body) if fix else size) + padded(body)
        for kind, size, body, fix in parts
    )
    with suppress(Damaged):
        for _ in TarReader(_Bytes(data + bytes(1024)), where="it"):
            pass


@given(st.binary(max_size=200), st.sampled_from([LAYER_ZSTD, LAYER_GZIP]), st.integers(0, 40))
def test_any_frames_are_a_layer_or_damaged(tail: bytes, kind: str, cut: int) -> None:
    import io

    whole = (
        zstandard.ZstdCompressor().compress(b"a" * 99)
        if kind == LAYER_ZSTD
        else gzip.compress(b"a")
    )
    for data in (tail, whole + tail, whole[:cut] + tail):
        with suppress(Damaged):
            layer = LayerInput(io.BytesIO(data), kind, limit=1 << 16, where="it")
            while layer.read(999):
                pass
