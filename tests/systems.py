"""Small systems for tests of what looks at systems: trees in a store, and images of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from atoll.base.report import NullReporter
from atoll.oci.config import ImageConfig
from atoll.oci.layout_writer import NewImage, write_layout
from atoll.oci.reference import LayoutReference
from atoll.store.objects import adding_objects
from atoll.store.refs import Ref, write_ref
from atoll.store.tree_images import write_image
from atoll.tree.canonical import canonical
from atoll.tree.model import INLINE_LIMIT, Directory, Metadata, Node, Regular, Symlink
from tests.images import place_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from atoll.base.ids import TreeId
    from atoll.oci.system_label import SystemLabel
    from atoll.store.layout import Store

EPOCH = 1_788_000_000
RECIPE = """schema = 1
from = "debian:trixie"
[image]
name = "small"
version = "1"
[packages]
install = ["bash"]
"""
COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: somebody
License: GPL-3+ and Odd

License: Odd
 Do what is odd.
"""


def status(*packages: tuple[str, str, int], more: str = "") -> bytes:
    """A database of dpkg's with (name, version, KiB)."""
    return "".join(
        f"Package: {name}\nStatus: install ok installed\nInstalled-Size: {size}\n"
        f"Maintainer: Some Body <some@example.org>\nArchitecture: amd64\nVersion: {version}\n"
        f"Description: for tests\n more of it\n{more}\n"
        for name, version, size in packages
    ).encode()


def files_of(
    version: str = "1", packages: tuple[tuple[str, str, int], ...] = (("bash", "5.2-1", 10),)
) -> dict[str, bytes | Node]:
    said = {
        "name": "small",
        "version": version,
        "kernel": "6.12-test",
        "args": ["quiet"],
        "suite": "trixie",
        "architecture": "amd64",
        "epoch": EPOCH,
    }
    listed = [[name, number, "amd64"] for name, number, _ in packages]
    return {
        "etc/group": b"root:x:0:\nsudo:x:27:ann\n",
        "etc/passwd": b"root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/sh\n",
        "etc/shadow": b"root:*:1::::::\nann:$y$abc:1::::::\n",
        "etc/systemd/system/multi-user.target.wants/ssh.service": link(
            "/usr/lib/systemd/system/ssh.service"
        ),
        "usr/bin/su": program(b"s" * 100, 0o4755),
        "usr/lib/atoll/image.json": json.dumps(said).encode(),
        "usr/lib/atoll/packages.json": json.dumps(listed).encode(),
        "usr/lib/atoll/recipe.toml": RECIPE.replace('"1"', f'"{version}"').encode(),
        "usr/lib/atoll/var/lib/dpkg/status": status(*packages),
        "usr/lib/systemd/system/ssh.service": b"[Install]\nWantedBy=multi-user.target\n",
        "usr/share/doc/bash/copyright": COPYRIGHT.encode(),
    }


def link(target: str) -> Symlink:
    return Symlink(Metadata(mode=0o777, mtime=EPOCH), target.encode())


def program(content: bytes, mode: int, *xattrs: tuple[bytes, bytes]) -> Regular:
    """Its content is not in a store: only its name is looked at."""
    from atoll.tree.verity import verity_digest

    return Regular(
        Metadata(mode=mode, mtime=EPOCH, xattrs=xattrs), len(content), verity_digest(content)
    )


def keep(store: Store, files: Mapping[str, bytes | Node], name: str | None = None) -> TreeId:
    """A tree of ``files`` in the store; with ``name`` that means it."""
    tree = write_image(store, _tree(store, files))
    if name is not None:
        write_ref(store, name, Ref(tree=tree, name="small", version="1", created=EPOCH))
    return tree


def publish(
    store: Store, tree: TreeId, where: Path, *, version: str = "1", facts: SystemLabel | None = None
) -> str:
    """The tree as an image; the word for it."""
    layout = LayoutReference(directory=str(where), tag=version)
    config = ImageConfig(
        name="small", version=version, created=EPOCH, architecture="amd64", system=facts
    )
    write_layout(store, NewImage(tree=tree, config=config, owner_of={}), layout, NullReporter())
    return f"oci:{where}:{version}"


def _tree(store: Store, files: Mapping[str, bytes | Node]) -> Directory:
    root: dict[bytes, Node] = {}
    with adding_objects(store) as sink:
        sink.put_bytes(b"s" * 100)
        for path, content in files.items():
            here, name = place_in(root, path)
            if isinstance(content, bytes):
                small = len(content) <= INLINE_LIMIT
                here[name] = Regular(
                    Metadata(mode=0o644, mtime=EPOCH),
                    len(content),
                    None if small else sink.put_bytes(content),
                    (content or None) if small else None,
                )
            else:
                here[name] = content
    return canonical(Directory(Metadata(mode=0o755), root), epoch=EPOCH)
