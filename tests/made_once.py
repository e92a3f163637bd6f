"""Images that many tests publish: made once in each process, copied where they are wanted again.

To publish is to read a tree, compress its layers and read them back: many times the work of a copy.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.host.fs import make_directory, replace_file
from atoll.oci.manifest import REF_NAME, ImageIndex, format_index, parse_index

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from pathlib import Path

    from atoll.base.ids import BlobDigest, TreeId


@dataclass(frozen=True, slots=True)
class _File:
    mode: int
    content: bytes


@dataclass(frozen=True, slots=True)
class _Made:
    """What a folder got: ``files`` by their path in it, and the index of its layout."""

    image: tuple[TreeId, BlobDigest]
    index: ImageIndex
    files: dict[str, _File]


_made: dict[Hashable, _Made] = {}
_contents: dict[_File, _File] = {}
"""Each content once: images share most of their objects and blobs."""


def publish_once(
    folder: Path, key: Hashable, publish: Callable[[Path], tuple[TreeId, BlobDigest]]
) -> tuple[TreeId, BlobDigest]:
    """Add to ``folder`` what ``publish`` writes into an empty folder, and return what it returns.

    Both have a store, which is in ``folder`` already, and a layout in ``layout``. Other images in
    the layout stay, those with the same tags are replaced. ``key`` stands for all that determines
    what is written.
    """
    if key not in _made:
        empty = folder / "made-once"
        make_directory(empty)
        _made[key] = _record(publish(empty), empty)
        shutil.rmtree(empty)
    made = _made[key]
    _add(made, folder)
    return made.image


def _record(image: tuple[TreeId, BlobDigest], folder: Path) -> _Made:
    files = {}
    for path in folder.rglob("*"):
        if path.is_file():
            file = _File(path.stat().st_mode & 0o7777, path.read_bytes())
            files[str(path.relative_to(folder))] = _contents.setdefault(file, file)
    index = files.pop("layout/index.json")
    return _Made(image, parse_index(index.content, where="index.json"), files)


def _add(made: _Made, folder: Path) -> None:
    make_directory(folder / "layout", mode=0o700)
    make_directory(folder / "layout/blobs/sha256")
    for name, file in made.files.items():
        # As publishing does it: blobs are replaced, objects that are there stay.
        there = os.O_TRUNC if name.startswith("layout/") else os.O_EXCL
        try:
            handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | there)
        except FileExistsError:
            continue
        with os.fdopen(handle, "wb") as copy:
            copy.write(file.content)
            os.fchmod(handle, file.mode)
    _add_to_index(folder / "layout/index.json", made.index)


def _add_to_index(path: Path, new: ImageIndex) -> None:
    there = ImageIndex()
    if path.exists():
        there = parse_index(path.read_bytes(), where=str(path))
    tags = {each.annotations.get(REF_NAME) for each in new.manifests}
    kept = [each for each in there.manifests if each.annotations.get(REF_NAME) not in tags]
    index = ImageIndex(manifests=(*kept, *new.manifests), others=there.others)
    replace_file(path, format_index(index))
