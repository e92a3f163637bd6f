"""An image becomes a machine's first deployment: in what order, and after what is cut."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Damaged, NoSpace, NotFound, Refused, UsageError
from atoll.base.ids import TreeId
from atoll.base.report import NullReporter
from atoll.cli.references import fetch_word
from atoll.image.bootable import objects_of, read_bootable
from atoll.machine.boot.new_entry import StatePartition
from atoll.machine.deployment import Origin, parse_origin
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.object_transfer import choose_transfer
from atoll.machine.deployments.operations import CommitEntry, WriteEntryList
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.disk_layout import automatic_size, check_size, derive_identity
from atoll.machine.install import check_empty, needed_space, plan_install
from atoll.machine.space import Space, check_space
from atoll.store.layout import open_store
from atoll.store.objects import measure_object
from atoll.store.refs import Ref, write_ref
from atoll.store.tree_images import read_image_bytes
from atoll.tree.verity import stored_size
from tests.unit.machine.small_image import FACTS, KERNEL, files_of, make_store

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.image.bootable import BootableImage
    from atoll.machine.deployments.operations import Operation
    from atoll.store.layout import Store

UUID = "11111111-2222-3333-4444-555555555555"


def plan_for(root: Path, store: Store, image: BootableImage) -> tuple[Operation, ...]:
    sysroot = Sysroot(root=root, esp=root / "esp")
    sysroot.esp.mkdir(parents=True, exist_ok=True)
    target = open_store(sysroot.atoll, create=True)
    return plan_install(
        image,
        Origin(image="store:hello"),
        sysroot=sysroot,
        state=StatePartition(uuid=UUID, verity=True),
        contents=choose_transfer(target, store),
        objects=tuple(objects_of(store, image.tree)),
    )


def files_below(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_a_machine_has_all_that_boots_it(tmp_path: Path) -> None:
    store, tree = make_store(tmp_path / "store")
    image = read_bootable(store, tree)
    apply_operations(plan_for(tmp_path / "machine", store, image))

    esp = tmp_path / "machine/esp"
    assert files_below(esp) == {
        "EFI/systemd/systemd-bootx64.efi",
        "EFI/BOOT/BOOTX64.EFI",
        "loader/loader.conf",
        "loader/entries/atoll-1+3.conf",
        f"atoll/{image.pair}/linux",
        f"atoll/{image.pair}/initrd",
    }
    assert (esp / "loader/entries/atoll-1+3.conf").read_text().splitlines() == [
        f"linux /atoll/{image.pair}/linux",
        f"initrd /atoll/{image.pair}/initrd",
        "sort-key atoll",
        "version 1",
        "title hello 1.2 (1)",
        f"options composefs={tree} atoll.state=UUID={UUID} atoll.deployment=1"
        " atoll.verity=require panic=10 quiet",
    ]
    assert (esp / f"atoll/{image.pair}/linux").read_bytes() == b"kernel " * 5000

    machine = open_store(tmp_path / "machine/atoll")
    assert read_image_bytes(machine, tree) == read_image_bytes(store, tree)
    for name in objects_of(store, tree):
        measure_object(machine, name)
    deployment = tmp_path / "machine/atoll/deployments/1"
    assert (deployment / "etc/upper").is_dir()
    assert (deployment / "etc/work").is_dir()
    assert (deployment / "atoll.toml").read_bytes() == b"schema = 1\n"
    origin = parse_origin((deployment / "origin.toml").read_bytes(), where="origin.toml")
    assert origin == Origin(image="store:hello")


def test_status_knows_what_was_installed(tmp_path: Path) -> None:
    store, tree = make_store(tmp_path / "store")
    root = tmp_path / "machine"
    apply_operations(plan_for(root, store, read_bootable(store, tree)))
    (found,) = read_state(Sysroot(root=root, esp=root / "esp", booted=1)).deployments
    assert (found.deployment.tree, found.deployment.kernel) == (tree, KERNEL)
    assert (found.booted, found.default, found.staged) == (True, True, False)
    assert (found.pinned, found.held) == (False, False)


def test_a_cut_after_any_operation_boots_nothing_or_all_of_it(tmp_path: Path) -> None:
    store, tree = make_store(tmp_path / "store")
    image = read_bootable(store, tree)
    count = len(plan_for(tmp_path / "count", store, image))
    for done in range(count + 1):
        root = tmp_path / f"machine-{done}"
        sysroot = Sysroot(root=root, esp=root / "esp")
        plan = plan_for(root, store, image)
        apply_operations(plan[:done])
        committed = any(isinstance(operation, CommitEntry) for operation in plan[:done])
        assert any(found.default for found in read_state(sysroot).deployments) == committed
        if not committed:
            check_empty(sysroot)
        apply_operations(plan_for(root, store, image))
        assert read_state(sysroot).deployments[0].default


def test_the_entry_is_the_last_operation_that_decides(tmp_path: Path) -> None:
    store, tree = make_store(tmp_path / "store")
    plan = plan_for(tmp_path / "machine", store, read_bootable(store, tree))
    assert isinstance(plan[-2], CommitEntry)
    assert isinstance(plan[-1], WriteEntryList)
    assert all(operation.describe() for operation in plan)


def test_a_machine_that_boots_is_not_installed_again(tmp_path: Path) -> None:
    store, tree = make_store(tmp_path / "store")
    root = tmp_path / "machine"
    apply_operations(plan_for(root, store, read_bootable(store, tree)))
    with pytest.raises(Refused, match="already has a system"):
        check_empty(Sysroot(root=root, esp=root / "esp"))


def test_a_damaged_object_is_not_installed(tmp_path: Path) -> None:
    store, tree = make_store(tmp_path / "store")
    image = read_bootable(store, tree)
    plan = plan_for(tmp_path / "machine", store, image)
    objects = objects_of(store, tree)
    victim = store.object_path(max(objects, key=lambda name: objects[name]))
    victim.chmod(0o644)
    victim.write_bytes(b"x" * victim.stat().st_size)
    with pytest.raises(Damaged):
        apply_operations(plan)
    assert files_below(tmp_path / "machine/esp") == set()


@pytest.mark.parametrize(
    ("free", "where"),
    [(Space(state=0, esp=1 << 30), "the state partition"), (Space(state=1 << 30, esp=9), "ESP")],
)
def test_no_space_says_where_and_how_much(tmp_path: Path, free: Space, where: str) -> None:
    store, tree = make_store(tmp_path / "store")
    image = read_bootable(store, tree)
    needed = needed_space(image, objects_of(store, tree).values())
    with pytest.raises(NoSpace, match=where) as caught:
        check_space("hello", needed, Sysroot(root=tmp_path, esp=tmp_path), free, "use another disk")
    assert "but only" in caught.value.message and caught.value.hint == "use another disk"


@pytest.mark.parametrize(
    ("size", "blocks"),
    [(0, 1), (1, 2), (4096, 2), (4097, 4), (128 * 4096, 130), (128 * 4096 + 1, 129 + 2 + 1 + 1)],
)
def test_verity_takes_a_descriptor_and_its_levels(size: int, blocks: int) -> None:
    assert stored_size(size) == blocks * 4096


@pytest.mark.parametrize(
    "change",
    [{"kernel": "other"}, {"architecture": "sparc"}, {"args": 7}, {"name": None, "args": None}],
)
def test_a_tree_that_cannot_boot_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    store, tree = make_store(tmp_path, files_of(FACTS | change) | {})
    with pytest.raises(Refused, match="cannot boot"):
        read_bootable(store, tree)


def test_a_tree_without_facts_is_refused(tmp_path: Path) -> None:
    store, tree = make_store(tmp_path, {"etc/hello": b"x"})
    with pytest.raises(Refused, match="cannot boot"):
        read_bootable(store, tree)


def test_an_image_is_named_by_ref_or_digest(tmp_path: Path) -> None:
    store, tree = make_store(tmp_path)
    write_ref(store, "hello", Ref(tree=tree, name="hello", version="1", created=1))
    for word in ("store:hello", "hello", tree):
        assert fetch_word(word, store.root, NullReporter()).tree == tree
    with pytest.raises(NotFound):
        fetch_word("store:other", store.root, NullReporter())
    with pytest.raises(NotFound):
        read_bootable(store, TreeId("0" * 64))


def test_disks_have_room_and_their_own_ids() -> None:
    assert automatic_size(10 << 20) == 4 << 30
    assert automatic_size(5 << 30) > 15 << 30
    with pytest.raises(UsageError, match="too small"):
        check_size(600 << 20, 10 << 20)
    one, other = derive_identity(uuid.UUID(int=1)), derive_identity(uuid.UUID(int=2))
    assert one == derive_identity(uuid.UUID(int=1))
    assert len({one.disk, one.esp, one.state, one.file_system, other.disk, other.esp}) == 6
