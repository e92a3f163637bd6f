"""What a machine is offered that is no honest image, and places that are full: refused by name, and
nothing is changed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import AtollError, Damaged, NoSpace, NotFound, Refused, UsageError
from atoll.base.report import NullReporter
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.gc import collect_garbage
from atoll.machine.upgrade import UpgradeRequest, upgrade
from tests.images import snapshot
from tests.machines import Maker, check_machine, objects_there

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

UPGRADE = UpgradeRequest(verb="upgrade")


class Shelf:
    """The layout that a machine follows, with the blobs of its newest image by what they are."""

    def __init__(self, layout: Path, tag: str) -> None:
        self.layout = layout
        self.index = layout / "index.json"
        entries = json.loads(self.index.read_text())["manifests"]
        self.manifest = self.blob(
            next(
                each["digest"]
                for each in entries
                if each["annotations"]["org.opencontainers.image.ref.name"] == tag
            )
        )
        document = json.loads(self.manifest.read_text())
        self.config = self.blob(document["config"]["digest"])
        self.layers = [self.blob(each["digest"]) for each in document["layers"]]

    def blob(self, digest: str) -> Path:
        return self.layout / "blobs/sha256" / digest.removeprefix("sha256:")

    def rewrite(self, change: Callable[[dict[str, object]], None]) -> None:
        """Another config, and a manifest and an index that vouch for it."""
        config = json.loads(self.config.read_text())
        change(config)
        data = json.dumps(config).encode()
        manifest = json.loads(self.manifest.read_text())
        manifest["config"] |= {"digest": self._keep(data), "size": len(data)}
        data = json.dumps(manifest).encode()
        old = f"sha256:{self.manifest.name}"
        index = json.loads(self.index.read_text())
        for each in index["manifests"]:
            if each["digest"] == old:
                each |= {"digest": self._keep(data), "size": len(data)}
        self.index.write_text(json.dumps(index))

    def _keep(self, data: bytes) -> str:
        name = sha256(data).hexdigest()
        (self.layout / "blobs/sha256" / name).write_bytes(data)
        return f"sha256:{name}"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def other_tree(config: dict[str, object]) -> None:
    config["config"]["Labels"]["dev.atoll.tree"] = "0" * 64  # type: ignore[index]


def too_small(config: dict[str, object]) -> None:
    config["config"]["Labels"]["dev.atoll.size"] = "10"  # type: ignore[index]


def a_bomb(config: dict[str, object]) -> None:
    config["config"]["Labels"]["dev.atoll.size"] = str(1 << 50)  # type: ignore[index]


def no_facts(config: dict[str, object]) -> None:
    config["dev.atoll.system"] = []


def says_nothing(config: dict[str, object]) -> None:
    del config["dev.atoll.system"]


def flip_all(path: Path) -> None:
    """Not a part of it is left that can be used."""
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))


def new_layer(shelf: Shelf) -> Path:
    """The first layer that the machine does not have yet."""
    old = Shelf(shelf.layout, "hello-1").layers
    return next(path for path in shelf.layers if path not in old)


def contents_layer(shelf: Shelf) -> Path:
    """The table of contents is the last layer."""
    return shelf.layers[-1]


OFFERS: dict[str, tuple[Callable[[Shelf], object], type[AtollError]]] = {
    "a layer of garbage": (lambda shelf: flip_all(new_layer(shelf)), Damaged),
    "a bit of the table of contents flipped": (lambda shelf: flip(contents_layer(shelf)), Damaged),
    "the table of contents cut short": (lambda shelf: cut_short(contents_layer(shelf)), Damaged),
    "the table of contents missing": (lambda shelf: contents_layer(shelf).unlink(), AtollError),
    "the table of contents swapped": (
        lambda shelf: shutil.copy(shelf.config, contents_layer(shelf)),
        Damaged,
    ),
    "a layer missing": (lambda shelf: new_layer(shelf).unlink(), AtollError),
    "the config flipped": (lambda shelf: flip(shelf.config), Damaged),
    "the manifest flipped": (lambda shelf: flip(shelf.manifest), Damaged),
    "the manifest gone": (lambda shelf: shelf.manifest.unlink(), AtollError),
    "the index is garbage": (lambda shelf: shelf.index.write_text("{"), Damaged),
    "another tree than it says": (lambda shelf: shelf.rewrite(other_tree), Damaged),
    "larger than it says": (lambda shelf: shelf.rewrite(too_small), AtollError),
    "a bomb": (lambda shelf: shelf.rewrite(a_bomb), Refused),
    "facts that are none": (lambda shelf: shelf.rewrite(no_facts), Damaged),
}


@pytest.mark.parametrize("offer", OFFERS)
def test_what_is_no_honest_image_changes_nothing(tmp_path: Path, offer: str) -> None:
    maker = Maker(tmp_path / "maker")
    machine = maker.install(tmp_path / "machine", maker.publish("1"))
    maker.publish("2", {"usr/lib/two": "something new " * 900})
    spoil, error = OFFERS[offer]
    spoil(Shelf(maker.folder / "layout", "hello"))
    before, objects = snapshot(machine.esp), objects_there(machine)
    with pytest.raises(error) as caught:
        upgrade(machine, UPGRADE, NullReporter())
    assert caught.value.message
    assert snapshot(machine.esp) == before and objects_there(machine) == objects
    assert [each.number for each in read_state(machine).deployments] == [1]
    collect_garbage(machine, None, NullReporter())
    check_machine(machine)


@pytest.mark.parametrize(
    ("image", "error"),
    [
        ("oci:/nowhere/at/all:1", NotFound),
        ("0" * 64, NotFound),
        ("store:nothing", NotFound),
        ("oci-archive:/nowhere/at/all.tar", NotFound),
        ("ftp://x/y", UsageError),
        ("", UsageError),
        ("--help", UsageError),
    ],
)
def test_names_of_nothing_are_told(tmp_path: Path, image: str, error: type[AtollError]) -> None:
    maker = Maker(tmp_path / "maker")
    machine = maker.install(tmp_path / "machine", maker.publish("1"))
    with pytest.raises(error):
        upgrade(machine, UpgradeRequest(verb="rebase", image=image), NullReporter())
    check_machine(machine)


def test_a_tree_that_cannot_boot_is_refused(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "maker")
    machine = maker.install(tmp_path / "machine", maker.publish("1"))
    new = maker.publish("2", {"usr/lib/atoll/image.json": "{}"})
    with pytest.raises(Refused, match="cannot boot"):
        upgrade(machine, UpgradeRequest(verb="rebase", image=new.reference), NullReporter())
    collect_garbage(machine, None, NullReporter())
    check_machine(machine)


@pytest.fixture
def small_places() -> Iterator[Callable[[Path, str], None]]:
    """Mounts file systems of a given size; gone after the test."""
    mounted: list[Path] = []

    def mount(path: Path, size: str) -> None:
        path.mkdir(parents=True, exist_ok=True)
        words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
        if subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("nothing can be mounted here")
        mounted.append(path)

    yield mount
    for path in reversed(mounted):
        subprocess.run(["umount", "--lazy", path], check=True)


@pytest.mark.parametrize("says", [True, False])
def test_a_full_esp_is_told_and_nothing_is_left_on_it(
    tmp_path: Path, small_places: Callable[[Path, str], None], says: bool
) -> None:
    """Also when the image does not say how large its kernel is, so that it is found out late."""
    maker = Maker(tmp_path / "maker")
    machine = _made_on(tmp_path, maker, small_places)
    filler = machine.esp / "mine"
    maker.publish("2", kernel="6.13-two")
    if not says:
        Shelf(maker.folder / "layout", "hello").rewrite(says_nothing)
    room = os.statvfs(machine.esp)
    # Beyond what the check wants, so that only the writing itself can notice.
    left = 0 if says else 1 << 20
    filler.write_bytes(b"x" * (room.f_bavail * room.f_frsize - left - 16384))
    objects = objects_there(machine)
    before = snapshot(machine.esp)
    if not says:
        (machine.esp / "more").write_bytes(b"x" * ((1 << 20) - 16384 * 2))
        before = snapshot(machine.esp)
    with pytest.raises(NoSpace) as caught:
        upgrade(machine, UPGRADE, NullReporter())
    assert "esp" in caught.value.message.lower()
    assert snapshot(machine.esp) == before
    assert objects_there(machine) == objects, "the space is given back"
    check_machine(machine)
    filler.unlink()
    upgrade(machine, UPGRADE, NullReporter())
    check_machine(machine)


def test_a_full_state_partition_is_told_and_space_given_back(
    tmp_path: Path, small_places: Callable[[Path, str], None]
) -> None:
    maker = Maker(tmp_path / "maker")
    machine = _made_on(tmp_path, maker, small_places)
    maker.publish("2", {"usr/lib/large": "something new " * (1 << 20)})
    (machine.root / "mine").write_bytes(b"x" * (24 << 20))
    before = objects_there(machine)
    with pytest.raises(NoSpace, match="state partition"):
        upgrade(machine, UPGRADE, NullReporter())
    assert objects_there(machine) == before
    check_machine(machine)


def _made_on(tmp_path: Path, maker: Maker, small_places: Callable[[Path, str], None]) -> Sysroot:
    made = maker.install(tmp_path / "made", maker.publish("1"))
    root = tmp_path / "machine"
    small_places(root, "64m")
    shutil.copytree(made.root, root, dirs_exist_ok=True)
    shutil.rmtree(root / "esp")
    small_places(root / "esp", "4m")
    shutil.copytree(made.esp, root / "esp", dirs_exist_ok=True)
    return Sysroot(root=root, esp=root / "esp")
