"""How the objects of a tree get from a builder's store into that of a machine."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.host.fs import space_errors
from atoll.store.objects import adding_objects, measure_object, open_object, read_chunks
from atoll.store.tree_images import read_image, write_image
from atoll.tree.verity import BLOCK_SIZE, VerityHasher

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from atoll.base.ids import ObjectId, TreeId
    from atoll.machine.deployments.operations import ObjectTransfer
    from atoll.store.layout import Store

VERITY_ALIGNMENT = 65536
"""ext4 keeps the Merkle tree of a file from the next multiple of this on, past the file's end."""


def choose_transfer(target: Store, source: Store) -> ObjectTransfer:
    """Hard links where both stores are on one file system and of one owner, else copies: who owns
    an object can change it where the file system does not verify it."""
    there, here = target.objects.stat(), source.objects.stat()
    if (there.st_dev, there.st_uid) == (here.st_dev, here.st_uid):
        return LinkObjects(source=source, target=target)
    return CopyObjects(source=source, target=target)


class LinkObjects:
    """Hard links; the digest of each object is checked first. Two mounts of one file system cannot
    be linked: then it copies."""

    def __init__(self, *, source: Store, target: Store) -> None:
        self._source = source
        self._target = target

    def place_objects(self, names: Iterable[ObjectId]) -> None:
        wanted = tuple(names)
        try:
            self._link(wanted)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            CopyObjects(source=self._source, target=self._target).place_objects(wanted)

    def _link(self, names: Iterable[ObjectId]) -> None:
        with space_errors(self._target.root):
            for name in names:
                target = self._target.object_path(name)
                if not target.exists():
                    measure_object(self._source, name)
                    os.link(self._source.object_path(name), target)

    def place_image(self, tree: TreeId) -> None:
        _copy_image(self._source, self._target, tree)


class CopyObjects:
    """Copies; the digest of each object is checked meanwhile."""

    def __init__(self, *, source: Store, target: Store) -> None:
        self._source = source
        self._target = target

    def place_objects(self, names: Iterable[ObjectId]) -> None:
        with adding_objects(self._target) as writer:
            for name in names:
                if self._target.object_path(name).exists():
                    continue
                handle = open_object(self._source, name)
                try:
                    found = writer.put_file(handle)
                finally:
                    os.close(handle)
                _compare(found, name, self._source)

    def place_image(self, tree: TreeId) -> None:
        _copy_image(self._source, self._target, tree)


class StagedForExt4:
    """Files laid out as ext4 stores verity files, for ``mke2fs -d`` to copy.

    ::

        0                       content
        next multiple of 64 KiB Merkle tree, root level first
        next block              descriptor (256 bytes), zeros, its length in the last 4 bytes

    Afterwards ``disk.seal_state`` sets the true size and the verity flag of each file. ``sizes``
    has the true sizes in bytes, by path from the root of the partition.
    """

    def __init__(self, *, source: Store, target: Store, top: Path) -> None:
        self._source = source
        self._target = target
        self._top = top
        self.sizes: dict[str, int] = {}

    def place_objects(self, names: Iterable[ObjectId]) -> None:
        for name in names:
            handle = open_object(self._source, name)
            try:
                found = self._stage(handle, self._target.object_path(name))
            finally:
                os.close(handle)
            _compare(found, name, self._source)

    def place_image(self, tree: TreeId) -> None:
        with self._source.image_path(tree).open("rb") as file:
            found = self._stage(file.fileno(), self._target.image_path(tree))
        _compare(found, tree, self._source)

    def _stage(self, handle: int, target: Path) -> str:
        hasher = VerityHasher()
        with space_errors(target), target.open("xb") as file:
            for chunk in read_chunks(handle):
                hasher.update(chunk)
                file.write(chunk)
            levels, descriptor = hasher.merkle_tree()
            file.seek(-(-hasher.size // VERITY_ALIGNMENT) * VERITY_ALIGNMENT)
            file.write(levels)
            file.write(descriptor.ljust(BLOCK_SIZE - 4, b"\0"))
            file.write(len(descriptor).to_bytes(4, "little"))
            os.fchmod(file.fileno(), 0o444)
        self.sizes[target.relative_to(self._top).as_posix()] = hasher.size
        return hasher.digest()


def _copy_image(source: Store, target: Store, tree: TreeId) -> None:
    _compare(write_image(target, read_image(source, tree)), tree, source)


def _compare(found: str, name: str, source: Store) -> None:
    if found != name:
        raise Damaged(
            f"{name} in {source.root} is damaged: its digest is {found}",
            hint="build or pull the image again",
        )
