"""Machines in directories for tests: images of a few kilobytes, published, installed, followed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.report import NullReporter
from atoll.image.bootable import objects_of, read_bootable
from atoll.machine.boot.new_entry import StatePartition
from atoll.machine.cleanup import list_pairs, trees_of
from atoll.machine.deployment import Origin
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.flags import BLESSED, SetFlag
from atoll.machine.deployments.object_transfer import choose_transfer
from atoll.machine.deployments.operations import WriteEntryList
from atoll.machine.deployments.retention import required_deployments
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.install import plan_install
from atoll.oci.config import ImageConfig
from atoll.oci.layout_writer import NewImage, write_layout
from atoll.oci.reference import LayoutReference
from atoll.oci.system_label import read_system_label
from atoll.store.check import FindingKind, check_store
from atoll.store.layout import open_store
from atoll.store.scan import import_directory
from atoll.store.tree_images import list_images, read_image, write_image
from atoll.tree.canonical import canonical
from atoll.tree.model import Regular, walk
from tests.made_once import publish_once

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from atoll.base.ids import BlobDigest, TreeId

EPOCH = 1_788_000_000
UUID = "11111111-2222-3333-4444-555555555555"
PLAIN = StatePartition(uuid=UUID, verity=True)
PASSWD = "root:x:0:0:root:/root:/bin/bash\nsshd:x:101:65534::/run/sshd:/usr/sbin/nologin\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    tree: TreeId
    reference: str


class Maker:
    """Publishes systems of a few files into one OCI layout below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = open_store(folder / "store", create=True)

    def publish(
        self,
        version: str,
        files: Mapping[str, str] | None = None,
        *,
        name: str = "hello",
        kernel: str = "6.12-one",
        packages: Mapping[str, str] | None = None,
    ) -> Published:
        """An image with tag ``version``, and also ``latest`` of its name."""
        root = self.folder / f"root-{name}-{version}"
        # What lies there already is in the image, too.
        mixed = root.exists()
        content = system_files(name, version, kernel, packages or {"bash": "5.2"})
        content |= files or {}
        write(root, content)
        for place in ("boot", "dev", "proc", "run", "sys", "sysroot", "tmp", "var"):
            (root / place).mkdir(exist_ok=True)

        def make(folder: Path) -> tuple[TreeId, BlobDigest]:
            return _publish(root, name, version, folder)

        key = ("machine", name, version, tuple(content.items()))
        tree, _ = make(self.folder) if mixed else publish_once(self.folder, key, make)
        reference = f"oci:{self.folder / 'layout'}:{name}-{version}"
        return Published(tree=tree, reference=reference)

    def follow(self, name: str = "hello") -> str:
        """The reference of the newest image of a name."""
        return f"oci:{self.folder / 'layout'}:{name}"

    def install(
        self,
        root: Path,
        image: Published,
        *,
        follow: str | None = None,
        state: StatePartition = PLAIN,
    ) -> Sysroot:
        """A machine in ``root`` with ``image`` as its first deployment."""
        sysroot = Sysroot(root=root, esp=root / "esp")
        sysroot.esp.mkdir(parents=True)
        target = open_store(sysroot.atoll, create=True)
        bootable = read_bootable(self.store, image.tree)
        plan = plan_install(
            bootable,
            Origin(image=follow or self.follow(bootable.name)),
            sysroot=sysroot,
            state=state,
            contents=choose_transfer(target, self.store),
            objects=tuple(objects_of(self.store, image.tree)),
        )
        apply_operations(plan)
        _had_a_good_boot(sysroot)
        return sysroot


def _publish(root: Path, name: str, version: str, folder: Path) -> tuple[TreeId, BlobDigest]:
    """Publish the system in ``root`` from the store and into the layout in ``folder``."""
    store = open_store(folder / "store", create=True)
    made = canonical(import_directory(store, root, NullReporter()), epoch=EPOCH)
    tree = write_image(store, made)
    config = ImageConfig(
        name=name,
        version=version,
        created=EPOCH,
        architecture="amd64",
        system=read_system_label(store, tree),
    )
    owners = {
        path: os.fsdecode(path).split("/")[2] for path, _ in walk(made) if path.count(b"/") > 2
    }
    image = NewImage(tree=tree, config=config, owner_of=owners)
    for tag in (f"{name}-{version}", name):
        target = LayoutReference(directory=str(folder / "layout"), tag=tag)
        digest = write_layout(store, image, target, NullReporter())
    return tree, digest


def _had_a_good_boot(sysroot: Sysroot) -> None:
    """The first deployment is blessed. Its entry keeps its number, as on machines that were
    installed before the first one was counted."""
    (entry,) = sysroot.entries.iterdir()
    entry.rename(entry.with_name("atoll-1.conf"))
    blessed = SetFlag(path=sysroot.state / BLESSED / "1")
    apply_operations([blessed, WriteEntryList(sysroot=sysroot)])


def system_files(
    name: str, version: str, kernel: str, packages: Mapping[str, str]
) -> dict[str, str]:
    facts = {
        "name": name,
        "version": version,
        "kernel": kernel,
        "args": ["quiet"],
        "suite": "trixie",
        "architecture": "amd64",
        "epoch": EPOCH,
    }
    listed = [(package, number, "amd64") for package, number in packages.items()]
    return {
        "usr/lib/atoll/image.json": json.dumps(facts),
        "usr/lib/atoll/packages.json": json.dumps(listed),
        "usr/lib/atoll/recipe.toml": "schema = 1\n",
        f"usr/lib/modules/{kernel}/vmlinuz": f"kernel {kernel} " * 500,
        f"usr/lib/modules/{kernel}/initrd": f"initrd {kernel} " * 3000,
        "usr/lib/systemd/boot/efi/systemd-bootx64.efi": "loader " * 100,
        "usr/lib/big": "the same in all versions " * 9000,
        "usr/lib/version": f"{name} {version} " * 400,
        "etc/passwd": PASSWD,
        "etc/group": "root:x:0:\n",
        "etc/shadow": "root:*:1::::::\n",
        "etc/motd": f"{name}\n",
        "etc/ssh/sshd_config": "Port 22\n",
    }


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def check_machine(sysroot: Sysroot) -> None:
    """What holds of every machine between two operations, whatever was done or cut before."""
    state = read_state(sysroot)
    assert state.damaged == () and state.menu.drafts == ()
    assert state.default is not None
    blessed = {each.number for each in state.deployments if each.blessed}
    free = {each.deployment for each in state.menu.entries if each.name.tries_left is None}
    assert blessed & free, "a blessed entry without a counter always stays"
    entries = {each.deployment for each in state.menu.entries}
    assert entries == {each.number for each in state.deployments}
    names = [path.name for path in sysroot.deployments.iterdir()]
    assert all(name.isdecimal() for name in names), names
    for each in state.menu.entries:
        assert each.entry is not None
        found = state.find(each.deployment)
        assert found is not None and each.pair == found.deployment.pair
        assert each.entry.option("composefs") == found.deployment.tree
        for path in (each.entry.linux, each.entry.initrd):
            assert (sysroot.esp / path.lstrip("/")).stat().st_size > 5000
    initrds = {
        f"machine/{each.machine_initrd}" for each in state.menu.entries if each.machine_initrd
    }
    pairs = {each.deployment.pair for each in state.deployments}
    assert set(list_pairs(sysroot)) == pairs | initrds
    check_contents(sysroot, trees_of(state))
    assert required_deployments(state) <= {each.number for each in state.deployments}


def check_contents(sysroot: Sysroot, trees: frozenset[TreeId]) -> None:
    """Every tree that can boot is whole."""
    store = open_store(sysroot.atoll)
    wrong = [
        each for each in check_store(store, NullReporter()) if each.kind is not FindingKind.STRAY
    ]
    assert wrong == []
    assert trees <= set(list_images(store))


def objects_needed(sysroot: Sysroot) -> set[str]:
    """The objects of all trees in the machine's store."""
    store = open_store(sysroot.atoll)
    return {
        node.object
        for tree in list_images(store)
        for _, node in walk(read_image(store, tree))
        if isinstance(node, Regular) and node.object
    }


def objects_there(sysroot: Sysroot) -> set[str]:
    store = open_store(sysroot.atoll)
    return {path.parent.name + path.name for path in store.objects.glob("*/*")}
