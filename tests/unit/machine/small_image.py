"""A tree that has all a machine looks for, of a few kilobytes, in a store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from atoll.store.layout import open_store
from atoll.store.objects import adding_objects
from atoll.store.tree_images import write_image
from atoll.tree.model import Directory, Metadata, Node, Regular

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.base.ids import TreeId
    from atoll.store.layout import Store
    from atoll.store.objects import ObjectSink

KERNEL = "6.12-test"
FACTS: dict[str, object] = {
    "name": "hello",
    "version": "1.2",
    "kernel": KERNEL,
    "args": ["quiet"],
    "suite": "trixie",
    "architecture": "amd64",
    "epoch": 1,
}


def files_of(facts: dict[str, object]) -> dict[str, bytes]:
    return {
        "usr/lib/atoll/image.json": json.dumps(facts).encode(),
        "usr/lib/atoll/recipe.toml": b"schema = 1\n",
        f"usr/lib/modules/{KERNEL}/vmlinuz": b"kernel " * 5000,
        f"usr/lib/modules/{KERNEL}/initrd": b"initrd " * 30000,
        "usr/lib/systemd/boot/efi/systemd-bootx64.efi": b"loader " * 100,
        "usr/bin/big": bytes(range(256)) * 4096,
        "usr/bin/small": b"small",
        "usr/bin/empty": b"",
    }


def make_store(root: Path, files: dict[str, bytes] | None = None) -> tuple[Store, TreeId]:
    """A store in ``root`` with the tree of ``files``."""
    store = open_store(root, create=True)
    with adding_objects(store) as sink:
        tree = _directory(files if files is not None else files_of(FACTS), sink)
    return store, write_image(store, tree)


def _directory(files: dict[str, bytes], sink: ObjectSink) -> Directory:
    entries: dict[bytes, Node] = {}
    for name in sorted({path.partition("/")[0] for path in files}):
        below = {
            path[len(name) + 1 :]: content
            for path, content in files.items()
            if path.startswith(f"{name}/")
        }
        entries[name.encode()] = _directory(below, sink) if below else _regular(files[name], sink)
    return Directory(Metadata(mode=0o755), entries)


def _regular(content: bytes, sink: ObjectSink) -> Regular:
    metadata = Metadata(mode=0o644)
    if len(content) <= 64:
        return Regular(metadata, len(content), inline=content or None)
    return Regular(metadata, len(content), object=sink.put_bytes(content))
