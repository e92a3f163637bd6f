"""Random trees for property tests: every kind of node, hard links, and edge-case sizes."""

from __future__ import annotations

from hypothesis import strategies as st

from atoll.base.ids import ObjectId
from atoll.tree.erofs_inodes import is_whiteout
from atoll.tree.model import (
    Device,
    DeviceKind,
    Directory,
    Fifo,
    Leaf,
    Metadata,
    Node,
    Regular,
    Socket,
    Symlink,
    is_name,
    walk,
)

NAMES = st.one_of(
    st.sampled_from([b"a", b"-", b"00", b"ff", b"a b", b"x=y", b"\xff", b"\n\\", b".a", b"!"]),
    st.binary(min_size=1, max_size=10).filter(is_name),
    st.integers(1, 255).map(lambda size: b"n" * size),
)
XATTR_NAMES = st.sampled_from(
    [
        b"user.one",
        b"user.overlay.whiteouts",
        b"security.capability",
        b"security.selinux",
        b"system.posix_acl_access",
        b"system.posix_acl_default",
        b"trusted.overlay.opaque",
        b"trusted.overlay.overlay.opaque",
        b"trusted.overlay.metacopy",
        b"trusted.a-name-long-enough-for-lanes",
        b"lustre.x",
        b"other",
        b"user." + b"k" * 250,
    ]
)
XATTR_VALUES = st.one_of(
    st.sampled_from([b"", b"y", b"=", b"-", b"\0"]),
    st.binary(max_size=40),
    st.integers(1, 1500).map(lambda size: b"v" * size),
)
XATTRS = st.one_of(
    st.just(()),
    st.dictionaries(XATTR_NAMES, XATTR_VALUES, max_size=5).map(lambda x: tuple(sorted(x.items()))),
)
IDS = st.sampled_from([0, 0, 0, 1000, 65535, 65536, 4_294_967_295])
TIMES = st.sampled_from([1_700_000_000, 1_700_000_000, 1_700_000_001, 0, 1, -1, 1 << 40])
_PLAIN = Metadata(mode=0)
METADATA = st.builds(
    Metadata,
    mode=st.integers(0, 0o7777),
    uid=IDS,
    gid=IDS,
    mtime=TIMES,
    mtime_nsec=st.sampled_from([0, 0, 0, 1, 999_999_999]),
    xattrs=XATTRS,
    nlink=st.sampled_from([None, None, None, None, 0, 7, 65536]),
)
OBJECTS = st.binary(min_size=32, max_size=32).map(lambda raw: ObjectId(raw.hex()))
SIZES = st.one_of(
    st.integers(1, 5000),
    st.sampled_from([1, 4096, 4097, 1 << 32, (1 << 43) + 1, (1 << 53) - 1, 1 << 53]),
)
REDIRECTS = st.sampled_from([None, None, None, b"", b"a/place", b"/absolute"])


@st.composite
def regulars(draw: st.DrawFn) -> Regular:
    metadata = draw(METADATA)
    kind = draw(st.sampled_from(["empty", "inline", "object", "object", "place"]))
    if kind == "inline":
        size = draw(st.sampled_from([1, 64, 2048, 2049, 4095, 4096, 4097, 5000]))
        return Regular(metadata, size, inline=draw(st.binary(min_size=1, max_size=1)) * size)
    if kind == "object":
        return Regular(metadata, draw(SIZES), draw(OBJECTS), redirect=draw(REDIRECTS))
    if kind == "place":
        return Regular(metadata, draw(SIZES), redirect=draw(REDIRECTS) or b"")
    return Regular(metadata, 0)


TARGETS = st.one_of(
    st.binary(min_size=1, max_size=60).map(lambda target: target.replace(b"\0", b"0")),
    st.integers(1, 4095).map(lambda size: b"t" * size),
)
DEVICE_NUMBERS = st.sampled_from([0, 0, 259, (1 << 32) - 1])
LEAVES: st.SearchStrategy[Leaf] = st.one_of(
    regulars(),
    st.builds(Symlink, METADATA, TARGETS),
    st.builds(Device, METADATA, st.sampled_from(DeviceKind), DEVICE_NUMBERS),
    st.builds(Fifo, METADATA),
    st.builds(Socket, METADATA),
)


@st.composite
def trees(draw: st.DrawFn) -> Directory:
    """A tree of up to four levels, with large directories and hard links."""
    leaves: list[Leaf] = []
    return _directory(draw, leaves, depth=draw(st.integers(0, 3)))


def _directory(draw: st.DrawFn, leaves: list[Leaf], depth: int) -> Directory:
    entries: dict[bytes, Node] = {}
    links: set[bytes] = set()
    for name in draw(st.lists(NAMES, max_size=5, unique=True)):
        choice = draw(st.integers(0, 9))
        if depth and choice < 4:
            entries[name] = _directory(draw, leaves, depth - 1)
        elif leaves and choice == 4:
            entries[name] = draw(st.sampled_from(leaves))
            if draw(st.booleans()):
                links.add(name)
        else:
            entries[name] = leaf = draw(LEAVES)
            leaves.append(leaf)
    if draw(st.integers(0, 7)) == 0:
        many, width = draw(st.integers(1, 120)), draw(st.integers(4, 200))
        metadata = draw(METADATA)
        entries |= {
            b"%0*d" % (width, number): Regular(metadata, 0)
            for number in range(many)
            if b"%0*d" % (width, number) not in entries
        }
    return Directory(draw(METADATA), entries, frozenset(links))


def default_version(tree: Directory) -> int:
    """The format that mkcomposefs chooses by default: 0, or 1 for a tree with whiteouts."""
    return int(any(is_whiteout(node) for _, node in walk(tree)))


@st.composite
def linked_whiteouts(draw: st.DrawFn) -> Directory:
    """A tree of hard-linked whiteouts: only directories of their primary names are marked."""
    leaves: list[Leaf] = []

    def directory(depth: int) -> Directory:
        entries: dict[bytes, Node] = {}
        links: set[bytes] = set()
        for name in draw(st.lists(st.sampled_from([b"a", b"b", b"c", b"d"]), unique=True)):
            choice = draw(st.sampled_from("dlln"))
            if choice == "d" and depth:
                entries[name] = directory(depth - 1)
            elif choice == "l" and leaves:
                entries[name] = draw(st.sampled_from(leaves))
                links |= draw(st.sampled_from([set(), {name}]))
            else:
                leaf: Leaf = Device(_PLAIN, DeviceKind.CHARACTER, 0)
                if draw(st.booleans()):
                    leaf = Regular(_PLAIN, 0)
                entries[name] = leaf
                leaves.append(leaf)
        return Directory(_PLAIN, entries, frozenset(links))

    return directory(3)
