"""Read what ``check`` decides from: two trees, and the running system."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.image.info import parse_image_info
from atoll.image.paths import IMAGE_INFO, PACKAGES, TREE_OWNED
from atoll.image.read_file import read_image_file
from atoll.image.tree_owned import parse_tree_owned
from atoll.machine.boot.mounts import read_mounts
from atoll.machine.deployments.state import read_deployment
from atoll.machine.etc.conflicts import find_conflicts
from atoll.machine.etc.stage import etc_paths
from atoll.machine.live.check import MachineFacts, TreeFacts, plan_live
from atoll.machine.live.mount_stack import is_scratch, list_foreign
from atoll.oci.system_label import parse_packages
from atoll.store.layout import open_store
from atoll.store.tree_images import read_image_bytes
from atoll.tree.erofs_reader import parse_below, parse_top
from atoll.tree.model import Directory, Regular

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atoll.image.info import ImageInfo
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.live.record import LivePlaces
    from atoll.store.layout import Store
    from atoll.tree.model import Node

LOADED_MODULES = Path("/proc/modules")


def explain_reboot(
    sysroot: Sysroot, places: LivePlaces, source: int, target: int
) -> tuple[str, ...]:
    """Why deployment ``target`` cannot go live where ``source`` runs; empty when it can.

    Raises Damaged, NotFound.
    """
    machine = read_machine_facts(sysroot, places, target)
    running = read_facts(sysroot, source, machine.loaded)
    return plan_live(running, read_facts(sysroot, target, machine.loaded), machine)


def read_facts(sysroot: Sysroot, number: int, loaded: frozenset[str]) -> TreeFacts:
    """The facts of a deployment's tree; of kernel modules only of those that are ``loaded``."""
    store = open_store(sysroot.atoll)
    tree = read_deployment(sysroot, number).tree
    image = read_image_bytes(store, tree)
    data = read_image_file(store, image, IMAGE_INFO) or b"{}"
    packages = read_image_file(store, image, PACKAGES) or b"[]"
    info = parse_image_info(data)
    return replace(
        facts_of_image(image, info, parse_packages(data, packages, where=f"tree {tree}")),
        modules=_read_modules(store, image, info.kernel, loaded),
        owned=parse_tree_owned((read_image_file(store, image, TREE_OWNED) or b"").decode()),
    )


def facts_of_image(
    image: bytes | bytearray | memoryview, info: ImageInfo, packages: Mapping[str, str] | None
) -> TreeFacts:
    """What a composefs image alone says of its tree, without the content of files."""
    opt = parse_below(image, b"usr/lib/opt")
    names = (f"usr/lib/modules/{info.kernel}/{name}" for name in ("vmlinuz", "initrd"))
    return TreeFacts(
        kernel=info.kernel,
        arguments=info.args,
        pair=" ".join(_content(parse_below(image, name.encode())) for name in names),
        packages=packages,
        top=frozenset(map(os.fsdecode, parse_top(image))),
        opt=tuple(map(os.fsdecode, opt.entries)) if isinstance(opt, Directory) else (),
    )


def read_machine_facts(sysroot: Sysroot, places: LivePlaces, target: int) -> MachineFacts:
    """Whether a change is unfinished is for the caller to say: it may be the one that asks."""
    conflicts, _ = find_conflicts(etc_paths(sysroot, target).conflicts)
    return MachineFacts(
        loaded=read_loaded_modules(),
        mounts=list_foreign(read_mounts(), places.root),
        conflicts=tuple(each.path for each in conflicts),
        scratch=is_scratch(places.root / "usr"),
    )


def read_loaded_modules(place: Path = LOADED_MODULES) -> frozenset[str]:
    """The names of the kernel modules in use; none where the kernel has no modules."""
    try:
        text = place.read_text()
    except FileNotFoundError:
        return frozenset()
    return frozenset(line.split()[0] for line in text.splitlines() if line)


def _read_modules(
    store: Store, image: bytes, kernel: str, loaded: frozenset[str]
) -> dict[str, str]:
    """The content of loaded modules by name, found by the list that depmod wrote."""
    directory = f"usr/lib/modules/{kernel}"
    listed = (read_image_file(store, image, f"{directory}/modules.dep") or b"").decode()
    found = {}
    for line in listed.splitlines():
        path = line.partition(":")[0]
        name = path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")
        if name in loaded:
            found[name] = _content(parse_below(image, f"{directory}/{path}".encode()))
    return found


def _content(node: Node | None) -> str:
    """Names the content of a file; empty if there is none."""
    return (node.object or (node.inline or b"").hex()) if isinstance(node, Regular) else ""
