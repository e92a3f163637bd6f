from __future__ import annotations

import contextlib
import io
import os
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import Damaged, Refused
from atoll.oci.tar_reader import TarMember, TarReader
from atoll.oci.tar_writer import TarWriter
from atoll.tree.model import (
    Device,
    DeviceKind,
    Directory,
    Fifo,
    Metadata,
    Node,
    Regular,
    Socket,
    Symlink,
)

PLAIN = Metadata(mode=0o644)


def inline(node: Regular) -> list[bytes]:
    return [node.inline] if node.inline else []


def write(*entries: tuple[bytes, Node]) -> bytes:
    output = io.BytesIO()
    writer = TarWriter(output, inline)
    for path, node in entries:
        writer.add(path, node)
    writer.finish()
    return output.getvalue()


def read(data: bytes) -> list[tuple[TarMember, bytes]]:
    reader = TarReader(io.BytesIO(data), where="it")
    return [(member, b"".join(reader.content())) for member in reader]


def regular(data: bytes, **metadata: object) -> Regular:
    return Regular(Metadata(**{"mode": 0o644, **metadata}), len(data), None, data)  # type: ignore[arg-type]


names = st.binary(min_size=1, max_size=255).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)
metadatas = st.builds(
    Metadata,
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 2),
    gid=st.integers(0, 2**32 - 2),
    mtime=st.integers(-(2**40), 2**40),
    xattrs=st.dictionaries(
        names.filter(lambda name: b"=" not in name), st.binary(max_size=300), max_size=3
    ).map(lambda found: tuple(sorted(found.items()))),
)
paths = st.lists(names, min_size=1, max_size=4).map(lambda parts: b"/" + b"/".join(parts))
targets = st.binary(min_size=1, max_size=300).filter(lambda target: b"\0" not in target)
nodes = st.one_of(
    st.builds(
        lambda data, m: Regular(m, len(data), None, data), st.binary(max_size=2000), metadatas
    ),
    st.builds(Symlink, metadatas, targets),
    st.builds(Fifo, metadatas),
    st.builds(
        lambda m, kind, major, minor: Device(m, kind, os.makedev(major, minor)),
        metadatas,
        st.sampled_from(DeviceKind),
        st.integers(0, 4095),
        st.integers(0, (1 << 20) - 1),
    ),
    st.builds(lambda m: Directory(m, {}), metadatas),
)


@given(paths, nodes)
def test_what_was_written_is_read_back(path: bytes, node: Node) -> None:
    ((member, content),) = read(write((path, node)))
    assert member.path == path[1:]
    assert member.metadata == node.metadata
    match node:
        case Regular():
            assert (member.kind, content) == (b"0", node.inline)
        case Symlink():
            assert (member.kind, member.target) == (b"2", node.target)
        case Device():
            assert member.device == node.number
            assert member.kind == (b"3" if node.kind is DeviceKind.CHARACTER else b"4")
        case Directory():
            assert member.kind == b"5"
        case _:
            assert member.kind == b"6"


@given(paths.filter(lambda path: not path.endswith(b" ")), nodes)
def test_pythons_tar_reads_the_same(path: bytes, node: Node) -> None:
    with tarfile.open(
        fileobj=io.BytesIO(write((path, node))), encoding="utf-8", errors="surrogateescape"
    ) as archive:
        (found,) = archive.getmembers()
        assert os.fsencode(found.name).rstrip(b"/") == path[1:]
        assert (found.mode, found.uid, found.gid) == (
            node.metadata.mode,
            node.metadata.uid,
            node.metadata.gid,
        )
        assert found.mtime == node.metadata.mtime
        if isinstance(node, Regular):
            file = archive.extractfile(found)
            assert file is not None
            assert file.read() == node.inline


def test_hard_links_and_the_root() -> None:
    file = regular(b"data", xattrs=((b"user.a", b"\0=\n"),))
    data = write((b"/", Directory(Metadata(mode=0o755), {})), (b"/a/b", file), (b"/c", file))
    root, first, second = read(data)
    assert (root[0].path, root[0].kind) == (b"", b"5")
    assert (first[0].kind, first[1]) == (b"0", b"data")
    assert first[0].metadata.xattrs == ((b"user.a", b"\0=\n"),)
    assert (second[0].kind, second[0].target, second[1]) == (b"1", b"a/b", b"")


def test_what_no_layer_can_hold() -> None:
    with pytest.raises(Refused, match="socket"):
        write((b"/s", Socket(PLAIN)))
    with pytest.raises(Refused, match="="):
        write((b"/x", regular(b"", xattrs=((b"user.a=b", b""),))))
    with pytest.raises(Damaged, match="3 bytes instead of 4"):
        write((b"/x", Regular(PLAIN, 4, None, b"abc")))


def test_the_bytes_are_fixed() -> None:
    block = write((b"/a", regular(b"hi", uid=1, mtime=2)))[:512]
    assert block[:100] == b"a" + bytes(99)
    assert block[100:157] == (
        b"0000644\x000000001\x000000000\x0000000000002\x0000000000002\x00" + block[148:157]
    )
    assert block[257:265] == b"ustar\x0000"


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_other_peoples_archives(form: int) -> None:
    output = io.BytesIO()
    long = "d/" * 40 + "f" * (90 if form == tarfile.USTAR_FORMAT else 150)
    with tarfile.open(fileobj=output, mode="w", format=form) as archive:
        info = tarfile.TarInfo("./" + long)
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("l")
        link.type = tarfile.SYMTYPE
        link.linkname = "t" * (100 if form == tarfile.USTAR_FORMAT else 200)
        archive.addfile(link)
    (file, content), (found, _) = read(output.getvalue())
    assert (file.path, content) == (long.encode(), b"abc")
    assert found.target == link.linkname.encode()


def hostile(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.type = kind
        info.linkname = target
        archive.addfile(info)
    return output.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        hostile("/etc/passwd"),
        hostile("a/../../b"),
        hostile(".."),
        hostile("a", tarfile.LNKTYPE, "/etc/shadow"),
        hostile("a", tarfile.LNKTYPE, "../x"),
        hostile("a", tarfile.SYMTYPE, ""),
        hostile("x" * 256),
        hostile("d/" * 2100),
        hostile("a", b"S"),
        hostile("a", b"Z"),
        b"",
        b"x" * 512,
        bytes(512),
        hostile("a")[:512],
        hostile("a") + b"more",
        write((b"/a", regular(b"x" * 600)))[:1000],
    ],
)
def test_doubtful_archives_are_damaged(data: bytes) -> None:
    with pytest.raises(Damaged, match="it is not a valid tar"):
        read(data)


@given(st.data())
def test_any_damage_is_an_archive_or_an_error(data: st.DataObject) -> None:
    whole = bytearray(
        write(
            (b"/" + b"n" * 120, regular(b"x" * 10, xattrs=((b"user.a", b"v"),))),
            (b"/l", Symlink(PLAIN, b"t")),
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Damaged):
        read(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
