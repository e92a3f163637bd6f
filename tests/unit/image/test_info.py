"""image.json: the reader accepts what the writer writes; all else is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from atoll.base.errors import Damaged, Refused
from atoll.base.ids import TreeId
from atoll.image.info import BaseInfo, ImageInfo, VarRules, format_image_info, parse_image_info

INFO = ImageInfo(
    name="hello",
    version="1",
    kernel="6.12",
    args=("quiet",),
    suite="trixie",
    components=("main", "contrib"),
    architecture="amd64",
    architectures=("i386",),
    epoch=1_788_000_000,
    homes=("/var/lib/x",),
    var=VarRules(tree=("/var/lib/y",), drop=("/var/lib/z",)),
    initrd="0" * 32,
    base=BaseInfo(name="b", version="2", tree=TreeId("a" * 64)),
)


@pytest.mark.parametrize("info", [INFO, replace(INFO, base=None, args=(), homes=())])
def test_it_is_read_as_it_was_written(info: ImageInfo) -> None:
    assert parse_image_info(format_image_info(info).encode(), where="tree") == info


def test_older_images_say_less() -> None:
    fields = json.loads(format_image_info(replace(INFO, base=None)))
    for name in ("components", "architectures", "homes", "initrd"):
        del fields[name]
    info = parse_image_info(json.dumps(fields).encode(), where="tree")
    assert (info.components, info.architectures, info.initrd) == (("main",), (), "")


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"name": 1}', b"\xff", b"[" * 100_000])
def test_anything_else_is_damage(text: bytes) -> None:
    with pytest.raises(Damaged, match="tree x"):
        parse_image_info(text, where="tree x")


@pytest.mark.parametrize("title", ["a\x1b[2Jb", "x" * 201])
def test_a_title_that_a_menu_cannot_show_is_ignored(title: str) -> None:
    fields = json.loads(format_image_info(INFO)) | {"title": title}
    assert parse_image_info(json.dumps(fields).encode(), where="tree") == INFO


@pytest.mark.parametrize(
    "wrong", [{"name": "x" * 201}, {"version": "a\nb"}, {"kernel": "../x"}, {"kernel": ""}]
)
def test_values_that_become_paths_and_labels_are_checked(wrong: dict[str, object]) -> None:
    fields = json.loads(format_image_info(INFO)) | wrong
    with pytest.raises(Damaged, match=next(iter(wrong))):
        parse_image_info(json.dumps(fields).encode(), where="tree")


def test_other_images_are_refused() -> None:
    with pytest.raises(Refused, match="Atoll did not build it"):
        parse_image_info(None, where="it")
