"""The verbs for trees, stores and images, from words in to words out."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Damaged, NotFound, Refused, UsageError
from atoll.base.report import NullReporter
from atoll.cli.main import VERBS, find_run, verb_parser
from atoll.oci.config import ImageConfig
from atoll.oci.layout_writer import NewImage, write_layout
from atoll.oci.reference import LayoutReference
from atoll.store.layout import open_store
from atoll.store.scan import import_directory
from atoll.store.tree_images import write_image
from atoll.tree.canonical import canonical

if TYPE_CHECKING:
    from pathlib import Path

EPOCH = 1_500_000_000


def atoll(*words: str) -> int:
    verb = next(each for each in VERBS if each.name == words[0])
    return find_run(verb)(verb_parser(verb).parse_args(words[1:]), NullReporter())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "usr").mkdir(parents=True)
    (root / "usr" / "tool").write_bytes(b"t" * 5000)
    os.link(root / "usr" / "tool", root / "other")
    (root / os.fsdecode(b"\xff\x1b")).symlink_to("usr")
    return root


@pytest.fixture
def layout(root: Path, tmp_path: Path) -> str:
    store = open_store(tmp_path / "made", create=True)
    tree = write_image(store, canonical(import_directory(store, root, NullReporter()), epoch=EPOCH))
    config = ImageConfig(name="hello", version="1", created=EPOCH, architecture="amd64")
    image = NewImage(tree=tree, config=config, owner_of={})
    write_layout(store, image, LayoutReference(directory=str(tmp_path / "out")), NullReporter())
    return str(tmp_path / "out")


@pytest.mark.parametrize("version", ["0", "1"])
def test_a_directory_its_dump_and_its_image_have_one_digest(
    root: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes], version: str
) -> None:
    assert atoll("tree", "digest", "--format", version, str(root)) == 0
    digest = capsysbinary.readouterr().out
    assert len(digest) == 65
    assert digest.endswith(b"\n")
    atoll("tree", "dump", str(root))
    (tmp_path / "dump").write_bytes(capsysbinary.readouterr().out)
    atoll("tree", "image", str(root), str(tmp_path / "image"))
    for path in ("dump", "image"):
        atoll("tree", "digest", "--format", version, str(tmp_path / path))
        assert capsysbinary.readouterr().out == digest


def test_a_listing_cannot_steer_the_terminal(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    atoll("tree", "ls", str(root))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert lines[-1].endswith(r"/\xff\x1b -> usr")


def test_an_image_is_pulled_inspected_and_forgotten(
    layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ("--store", str(tmp_path / "store"))
    assert atoll("tree", "digest", layout) == 0
    tree = capsys.readouterr().out.strip()
    assert atoll("inspect", f"oci:{layout}", "--json") == 0
    assert json.loads(capsys.readouterr().out)["tree"] == tree
    assert atoll("pull", f"oci:{layout}", *store) == 0
    assert capsys.readouterr().out.strip() == tree
    assert atoll("inspect", "store:hello", "--json", *store) == 0
    assert json.loads(capsys.readouterr().out)["tree"] == tree
    assert atoll("store", "list", "--json", *store) == 0
    assert [each["ref"] for each in json.loads(capsys.readouterr().out)["refs"]] == ["hello"]
    assert atoll("store", "check", *store) == 0
    assert capsys.readouterr().out == ""
    (tmp_path / "store" / "refs" / "hello.json").write_text("")
    assert atoll("store", "check", *store) == Damaged.exit_code
    assert "damaged ref" in capsys.readouterr().out
    assert atoll("store", "remove", "hello", *store) == 0


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("tree", "digest", "/nothing/here"), NotFound),
        (("tree", "digest", "/dev/null"), UsageError),
        (("inspect", "oci-archive:/nothing"), NotFound),
        (("inspect", "oci:/nothing/here"), NotFound),
        (("inspect", "debian"), UsageError),
        (("pull", "oci-archive:/dev/null"), Refused),
        (("pull", "store:x"), UsageError),
        (("store", "list", "--store", "/nothing/here"), NotFound),
    ],
)
def test_mistakes(words: tuple[str, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        atoll(*words)
