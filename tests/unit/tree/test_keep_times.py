"""Which files keep their mtime when they are written again."""

from __future__ import annotations

from atoll.tree.keep_times import keep_times
from atoll.tree.model import Directory, Leaf, Metadata, Node, Regular, Symlink

OLD, NEW = 100, 200


def file(text: bytes, *, mtime: int = NEW, mode: int = 0o644) -> Regular:
    return Regular(Metadata(mode=mode, mtime=mtime), len(text), None, text)


def folder(**entries: Node) -> Directory:
    named = {name.replace("_", ".").encode(): node for name, node in entries.items()}
    return Directory(Metadata(mode=0o755, mtime=NEW), named)


def times(tree: Directory) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, node in tree.entries.items():
        if isinstance(node, Directory):
            found |= {f"{name.decode()}/{path}": time for path, time in times(node).items()}
        else:
            found[name.decode()] = node.metadata.mtime
    return found


def test_what_is_as_it_was_keeps_its_time() -> None:
    link = Symlink(Metadata(mode=0o777, mtime=NEW), b"x")
    before = folder(
        same=file(b"a", mtime=OLD),
        changed=file(b"a", mtime=OLD),
        mode=file(b"a", mtime=OLD),
        etc=folder(link=Symlink(Metadata(mode=0o777, mtime=OLD), b"x")),
        m_py=file(b"", mtime=OLD),
        kind=link,
        older=file(b"a", mtime=OLD),
    )
    after = folder(
        same=file(b"a"),
        changed=file(b"b"),
        mode=file(b"a", mode=0o600),
        etc=folder(link=link),
        m_py=file(b""),
        kind=file(b"x"),
        new=file(b"a"),
        older=file(b"a", mtime=OLD + 1),
    )
    assert times(keep_times(before, after, epoch=NEW)) == {
        "same": OLD,
        "changed": NEW,
        "mode": NEW,
        "etc/link": OLD,
        "m.py": NEW,
        "kind": NEW,
        "new": NEW,
        "older": OLD + 1,
    }


def test_hard_links_stay() -> None:
    node: Leaf = file(b"a")
    before = folder(one=file(b"a", mtime=OLD), two=file(b"a", mtime=OLD))
    made = keep_times(before, folder(one=node, two=node), epoch=NEW)
    assert made.entries[b"one"] is made.entries[b"two"]
    assert times(made) == {"one": OLD, "two": OLD}
    made = keep_times(before, folder(new=node, one=node), epoch=NEW)
    assert made.entries[b"new"] is made.entries[b"one"]
