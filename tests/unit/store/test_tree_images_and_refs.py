from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Damaged, NotFound, UsageError
from atoll.base.ids import TreeId
from atoll.base.report import NullReporter
from atoll.store.check import FindingKind, check_store
from atoll.store.layout import Store, open_store
from atoll.store.refs import Ref, check_ref_name, list_refs, read_ref, remove_ref, write_ref
from atoll.store.scan import import_directory
from atoll.store.tree_images import list_images, read_image, write_image
from atoll.tree.dumpfile import format_dump
from atoll.tree.model import Directory, Regular

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store", create=True)


@pytest.fixture
def tree(store: Store, tmp_path: Path) -> Directory:
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").write_bytes(b"x" * 5000)
    (root / "small").write_bytes(b"s")
    return import_directory(store, root, NullReporter())


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)


def test_a_tree_comes_back_as_it_went(store: Store, tree: Directory) -> None:
    name = write_image(store, tree)
    assert format_dump(read_image(store, name)) == format_dump(tree)
    assert list_images(store) == (name,)
    assert stat.S_IMODE(store.image_path(name).stat().st_mode) == 0o444
    assert write_image(store, tree) == name
    assert not any(store.staging.iterdir())


def test_a_damaged_image_is_noticed_and_written_again(store: Store, tree: Directory) -> None:
    name = write_image(store, tree)
    damage(store.image_path(name))
    with pytest.raises(Damaged, match=name):
        read_image(store, name)
    write_image(store, tree)
    read_image(store, name)


def test_a_missing_image_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        read_image(store, TreeId("0" * 64))


def test_refs(store: Store, tree: Directory) -> None:
    name = write_image(store, tree)
    ref = Ref(tree=name, name="hello", version="1", created=1_788_000_000)
    write_ref(store, "hello", ref)
    write_ref(store, "deployments/3", ref)
    assert read_ref(store, "hello") == ref
    assert [each for each, _ in list_refs(store)] == ["deployments/3", "hello"]
    remove_ref(store, "hello")
    with pytest.raises(NotFound):
        read_ref(store, "hello")
    with pytest.raises(NotFound):
        remove_ref(store, "hello")


def test_a_ref_needs_its_tree(store: Store) -> None:
    with pytest.raises(NotFound, match="no tree"):
        write_ref(store, "x", Ref(tree=TreeId("0" * 64), name="x", version="1", created=0))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-x",
        "../x",
        "a/../b",
        "a//b",
        "/a",
        "a/",
        ".hidden",
        "a\n",
        "a b",
        "x.json",
        "ä",
        "x" * 129,
    ],
)
def test_names_that_cannot_be(name: str, store: Store) -> None:
    with pytest.raises(UsageError, match="not a valid image name"):
        check_ref_name(name)
    with pytest.raises(UsageError):
        read_ref(store, name)


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"\xff", b'{"algorithm": "md5", "format": 1}'])
def test_a_damaged_ref_is_told(store: Store, text: bytes) -> None:
    (store.refs / "x.json").write_bytes(text)
    with pytest.raises(Damaged, match="not a ref"):
        read_ref(store, "x")


def test_a_whole_store_has_no_findings(store: Store, tree: Directory) -> None:
    name = write_image(store, tree)
    write_ref(store, "x", Ref(tree=name, name="x", version="1", created=0))
    assert check_store(store, NullReporter()) == ()


def test_each_kind_of_damage_is_found(store: Store, tree: Directory) -> None:
    name = write_image(store, tree)
    file = tree.entries[b"file"]
    assert isinstance(file, Regular)
    assert file.object
    damage(store.object_path(file.object))
    (store.objects / "00" / "stray").write_text("")
    (store.refs / "x.json").write_text("")
    found = {each.kind: each.subject for each in check_store(store, NullReporter())}
    assert found == {
        FindingKind.STRAY: str(store.objects / "00" / "stray"),
        FindingKind.DAMAGED_OBJECT: file.object,
        FindingKind.DAMAGED_REF: "x",
    }
    store.object_path(file.object).unlink()
    (store.objects / "00" / "stray").unlink()
    (store.refs / "x.json").unlink()
    kinds = [each.kind for each in check_store(store, NullReporter())]
    assert kinds == [FindingKind.MISSING_OBJECT]
    damage(store.image_path(name))
    kinds = [each.kind for each in check_store(store, NullReporter())]
    assert kinds == [FindingKind.DAMAGED_IMAGE]


@pytest.mark.parametrize("odd", ["a directory", "a pipe", "a link to itself"])
def test_what_stands_at_the_name_of_an_image_makes_room_for_it(
    store: Store, tree: Directory, odd: str
) -> None:
    place = store.image_path(write_image(store, tree))
    place.unlink()
    if odd == "a directory":
        (place / "mine").mkdir(parents=True)
    elif odd == "a pipe":
        os.mkfifo(place)
    else:
        place.symlink_to(place.name)
    name = write_image(store, tree)
    assert format_dump(read_image(store, name)) == format_dump(tree)
    assert os.path.lexists(place.with_name(f"{name}.displaced-1"))
    assert list_images(store) == (name,)
