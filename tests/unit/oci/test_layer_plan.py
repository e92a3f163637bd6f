from __future__ import annotations

import io

import pytest

from atoll.base.errors import Damaged, Refused
from atoll.oci.apply_layers import LayeredTree, TarLayer
from atoll.oci.layer_plan import BIG, MAX_BIG, SHARED, UNOWNED, plan_layers
from atoll.oci.tar_reader import TarReader
from atoll.oci.tar_writer import TarWriter
from atoll.store.objects import DigestSink
from atoll.tree.model import Directory, Fifo, Metadata, Node, Regular, Symlink, walk

PLAIN = Metadata(mode=0o644)
FOLDER = Metadata(mode=0o755)


def folder(**entries: Node) -> Directory:
    return Directory(FOLDER, {name.encode(): node for name, node in entries.items()})


def text(content: str) -> Regular:
    return Regular(PLAIN, len(content), None, content.encode())


def big(size: int = BIG) -> Regular:
    return Regular(PLAIN, size, None, None)


def layer(*entries: tuple[bytes, Node]) -> TarReader:
    output = io.BytesIO()
    writer = TarWriter(output, lambda node: [node.inline] if node.inline else [])
    for path, node in entries:
        writer.add(path, node)
    writer.finish()
    output.seek(0)
    return TarReader(output, where="it")


def stack(*layers: TarReader) -> Directory:
    tree = LayeredTree()
    for each in layers:
        tree.add_layer(TarLayer(each, DigestSink()), where="it")
    return tree.root


def paths(tree: Directory) -> list[bytes]:
    return [path for path, _ in walk(tree)][1:]


def test_every_leaf_is_in_one_layer_and_its_parents_are_there() -> None:
    shared = text("hard")
    tree = folder(
        usr=folder(a=text("a"), b=text("b"), empty=folder(), h=shared),
        etc=folder(own=text("own"), h=shared),
        proc=folder(),
    )
    owners = {b"/usr/a": "alpha", b"/usr/b": "beta", b"/usr": "alpha", b"/usr/empty": "beta"}
    plans = plan_layers(tree, owners)
    assert plans[-1].title == UNOWNED
    seen: dict[bytes, int] = {}
    for plan in plans:
        here = set()
        for path, node in plan.entries:
            parent = path.rpartition(b"/")[0] or b"/"
            assert path == b"/" or parent in here, "parents come first"
            here.add(path)
            if not isinstance(node, Directory) or not node.entries:
                seen[path] = seen.get(path, 0) + 1
    assert seen == dict.fromkeys(
        (b"/usr/a", b"/usr/b", b"/usr/empty", b"/usr/h", b"/etc/own", b"/etc/h", b"/proc"), 1
    )
    (linked,) = [plan for plan in plans if b"/etc/h" in dict(plan.entries)]
    assert b"/usr/h" in dict(linked.entries)


def test_big_packages_are_alone_and_the_number_of_layers_is_limited() -> None:
    entries: dict[str, Node] = {f"s{number}": text("x") for number in range(300)}
    entries |= {f"b{number}": big(BIG + number) for number in range(20)}
    owners = {b"/" + name.encode(): name for name in entries}
    plans = plan_layers(folder(own=text(""), **entries), owners)
    assert [plan.title for plan in plans[:MAX_BIG]] == sorted(f"b{n}" for n in range(5, 20))
    assert len(plans) <= MAX_BIG + SHARED + 1
    titles = {name: plan.title for plan in plans for name in plan.title.split()}
    del entries["s7"]
    fewer = plan_layers(folder(own=text(""), **entries), owners)
    for plan in fewer[MAX_BIG:-1]:
        for name in plan.title.split():
            assert set(plan.title.split()) | {"s7"} >= set(titles[name].split())


def test_a_tree_without_packages_is_one_layer() -> None:
    (plan,) = plan_layers(folder(a=text("")), {})
    assert [path for path, _ in plan.entries] == [b"/", b"/a"]
    assert plan_layers(Directory(FOLDER, {}), {})[0].entries[0][0] == b"/"


def test_names_that_mean_removal_cannot_travel() -> None:
    with pytest.raises(Refused, match=r"\.wh\."):
        plan_layers(Directory(FOLDER, {b".wh.x": text("")}), {})


def test_layers_make_the_tree_again() -> None:
    shared = text("hard")
    tree = folder(usr=folder(a=text("a"), h=shared), etc=folder(h=shared, l=Symlink(PLAIN, b"t")))
    root = stack(*(layer(*plan.entries) for plan in plan_layers(tree, {b"/usr/a": "alpha"})))
    assert paths(root) == paths(tree)
    found = dict(walk(root))
    assert found[b"/usr/h"] is found[b"/etc/h"]


def test_whiteouts() -> None:
    lower = ((b"/d", folder()), (b"/d/a", text("")), (b"/d/b", text("")), (b"/e", text("")))
    mark = text("")
    assert paths(stack(layer(*lower), layer((b"/d/.wh.a", mark)))) == [b"/d", b"/d/b", b"/e"]
    assert paths(stack(layer(*lower), layer((b"/.wh.d", mark)))) == [b"/e"]
    opaque = layer((b"/d/c", text("")), (b"/d/.wh..wh..opq", mark))
    assert paths(stack(layer(*lower), opaque)) == [b"/d", b"/d/c", b"/e"]
    both = layer((b"/d", folder()), (b"/d/c", text("")), (b"/.wh.d", mark))
    assert paths(stack(layer(*lower), both)) == [b"/d", b"/d/c", b"/e"]
    nothing = layer((b"/.wh.unknown", mark))
    assert paths(stack(layer(*lower), nothing)) == [b"/d", b"/d/a", b"/d/b", b"/e"]


def test_kinds_replace_each_other() -> None:
    lower = layer((b"/x", folder()), (b"/x/a", text("")), (b"/y", text("")))
    upper = layer((b"/x", Fifo(PLAIN)), (b"/y", folder()), (b"/y/b", text("")))
    assert paths(stack(lower, upper)) == [b"/x", b"/y", b"/y/b"]
    metadata = Metadata(mode=0o700, uid=5)
    root = stack(
        layer((b"/x", folder()), (b"/x/a", text(""))), layer((b"/x", Directory(metadata, {})))
    )
    assert paths(root) == [b"/x", b"/x/a"]
    assert root.entries[b"x"].metadata == metadata


def test_paths_through_links_are_damage() -> None:
    with pytest.raises(Damaged, match="not a directory"):
        stack(layer((b"/etc", Symlink(PLAIN, b"/etc"))), layer((b"/etc/passwd", text("x"))))


def test_a_hard_link_to_nothing_is_damage() -> None:
    with pytest.raises(Damaged, match="hard link"):
        stack(link_to(b"missing"))
    with pytest.raises(Damaged, match="hard link"):
        stack(layer((b"/d", folder())), link_to(b"d"))
    assert paths(stack(layer((b"/a", text("x"))), link_to(b"a"))) == [b"/a", b"/link"]


def link_to(target: bytes) -> TarReader:
    """A layer that has only a hard link."""
    shared = text("x")
    output = io.BytesIO()
    writer = TarWriter(output, lambda node: [node.inline] if node.inline else [])
    writer.add(b"/" + target, shared)
    cut = output.tell()
    writer.add(b"/link", shared)
    writer.finish()
    return TarReader(io.BytesIO(output.getvalue()[cut:]), where="it")
