"""What counts as an input of an initrd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atoll.builder.finish.initrd import initrd_inputs
from atoll.store.layout import open_store
from atoll.tree.model import Metadata, Regular
from atoll.tree.path_ops import find_node, with_node
from tests.images import make_tree

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "/usr/lib/modules/6.12/vmlinuz": b"kernel",
    "/usr/lib/modules/6.12/kernel/ext4.ko": b"ext4",
    "/usr/lib/dracut/modules.d/99base/module-setup.sh": b"inst_multiple mount cat\n"
    b"inst_simple emergency.target\nfor i in sysinit.target; do :; done\n",
    "/usr/bin/mount": b"mount",
    "/usr/bin/htop": b"htop",
    "/usr/lib/x86_64-linux-gnu/libc.so.6": b"libc",
    "/usr/share/doc/htop/cat": b"not that cat",
}


def inputs(folder: Path, **changes: bytes) -> str:
    store = open_store(folder / "store", create=True)
    files = FILES | {path.replace("__", "/"): data for path, data in changes.items()}
    return initrd_inputs(make_tree(store, files), "6.12", store)


@pytest.mark.parametrize(
    "path",
    [
        "/usr/bin/mount",
        "/usr/bin/cat",
        "/usr/sbin/cat",
        "/usr/lib/modules/6.12/kernel/xfs.ko",
        "/usr/lib/modules/6.12/vmlinuz",
        "/usr/lib/firmware/card.bin",
        "/usr/lib/dracut/modules.d/90more/module-setup.sh",
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
        "/usr/lib/x86_64-linux-gnu/libm.so.6",
        "/usr/lib/systemd/systemd",
        "/usr/lib/systemd/system/emergency.target",
        "/usr/lib/systemd/system/sysinit.target.wants/new.service",
        "/etc/dracut.conf.d/mine.conf",
        "/usr/lib/udev/rules.d/60-new.rules",
    ],
)
def test_what_matters(tmp_path: Path, path: str) -> None:
    assert inputs(tmp_path) != inputs(tmp_path, **{path: b"another"})


@pytest.mark.parametrize(
    "path",
    [
        "/usr/bin/htop",
        "/usr/bin/top",
        "/usr/share/doc/htop/cat",
        "/usr/lib/systemd/system/htop.service",
        "/usr/lib/python3/dist-packages/m.so",
        "/etc/motd",
    ],
)
def test_what_does_not(tmp_path: Path, path: str) -> None:
    assert inputs(tmp_path) == inputs(tmp_path, **{path: b"another"})


def test_the_initrd_itself_is_none_of_its_inputs(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store", create=True)
    tree = make_tree(store, FILES)
    node = Regular(Metadata(mode=0o644), 1, None, b"i")
    made = with_node(tree, "usr/lib/modules/6.12/initrd", node)
    assert initrd_inputs(made, "6.12", store) == initrd_inputs(tree, "6.12", store)
    assert find_node(made, "usr/lib/modules/6.12/initrd") is node
    assert find_node(tree, "usr/lib/modules/6.12/initrd") is None
