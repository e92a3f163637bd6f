"""Recipes that are derived from an image or from another recipe, however the base comes here."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from atoll.base.errors import RecipeError
from atoll.base.report import NullReporter
from atoll.builder.base_image import base_root_name, read_installed
from atoll.builder.build import build_tree
from atoll.builder.use_lock import is_current
from atoll.recipe.language.parse import read_recipe
from atoll.store.check import check_store
from atoll.store.layout import open_store
from atoll.store.refs import read_ref
from atoll.store.tree_images import read_image
from atoll.tree.dumpfile import format_dump
from atoll.tree.model import Regular
from atoll.tree.path_ops import find_node
from tests.programs import standin
from tests.programs.test_build import System, copy_cache
from tests.registry_server import registry, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from atoll.base.ids import TreeId
    from atoll.builder.build import Built
    from atoll.recipe.model import Recipe
    from atoll.store.layout import Store
    from atoll.tree.model import Directory

pytestmark = [pytest.mark.root, pytest.mark.network]

RECORDS = {f"/usr/lib/atoll/{name}" for name in ("image.json", "recipe.toml", "lock.toml")}
_Given = TypeVar("_Given")


@dataclass
class Steps(NullReporter):
    """Remembers which steps ran."""

    titles: list[str] = field(default_factory=list)

    def step(self, title: str):  # type: ignore[no-untyped-def,explicit-override]
        self.titles.append(title)
        return super().step(title)


class Cut(NullReporter):
    """Ends the process, as a power cut would, when a tree is half unpacked."""

    def progress(self, *_: object, **__: object) -> None:  # type: ignore[explicit-override]
        os._exit(77)


def _build_cut(recipe: Recipe, store: Store) -> None:
    build_tree(recipe, store, Cut())


def in_child(work: Callable[..., _Given], *arguments: object) -> _Given:
    """Do it in another process, for a build makes the mounts of its process its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        return pool.submit(work, *arguments).result()


def _build(recipe: Recipe, store: Store) -> tuple[Built, list[str]]:
    reporter = Steps()
    return build_tree(recipe, store, reporter), reporter.titles


def build(recipe: Recipe, store: Store) -> tuple[Built, list[str]]:
    return in_child(_build, recipe, store)


def derived(folder: Path, base: str, more: str = "") -> Recipe:
    """A recipe in ``folder`` that says what it is called, where it begins, and ``more``."""
    return read_recipe(write_derived(folder, base, more))


def write_derived(folder: Path, base: str, more: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    text = f'schema = 1\nfrom = "{base}"\nimage = {{ name = "mine", version = "7" }}\n{more}'
    (folder / "atoll.toml").write_text(text)
    return folder


def lines(tree: Directory) -> dict[str, str]:
    """What a dump says of every path."""
    rows = (line.partition(" ") for line in format_dump(tree).decode().splitlines())
    return {path: rest for path, _, rest in rows}


def changed(before: Directory, after: Directory) -> set[str]:
    old, new = lines(before), lines(after)
    return {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}


@pytest.fixture(scope="module")
def store(system: System) -> Iterator[Store]:
    yield open_store(system.store)


@dataclass(frozen=True)
class Plain:
    """A recipe that changes nothing, and the tree that it gives."""

    recipe: Recipe
    tree: TreeId


@pytest.fixture(scope="module")
def plain(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Plain:
    recipe = derived(tmp_path_factory.mktemp("mine"), "store:small")
    built, titles = build(recipe, store)
    assert not {"Making the initrd", "Making the first root", "Installing packages"} & {*titles}
    assert is_current(recipe, built.tree)
    return Plain(recipe, built.tree)


def test_a_recipe_that_changes_nothing_differs_in_its_records(
    system: System, store: Store, plain: Plain
) -> None:
    assert read_ref(store, "small").tree == system.tree
    assert read_ref(store, "mine").tree == plain.tree
    tree = read_image(store, plain.tree)
    assert changed(read_image(store, read_ref(store, "small").tree), tree) == RECORDS
    node = find_node(tree, "usr/lib/atoll/image.json")
    assert isinstance(node, Regular)
    assert node.object
    said = json.loads(store.object_path(node.object).read_text())
    assert said["base"] == {"name": "small", "version": "1", "tree": system.tree}
    assert (said["suite"], said["components"], said["args"]) == ("trixie", ["main"], ["quiet"])
    assert read_ref(store, "bases/mine").tree == system.tree


def test_a_second_build_does_nothing(store: Store, plain: Plain) -> None:
    built, titles = build(plain.recipe, store)
    assert (built.tree, built.reused, titles) == (plain.tree, True, [])


def test_the_same_from_a_layout_an_archive_a_registry_and_a_recipe(
    system: System, store: Store, plain: Plain, tmp_path: Path
) -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("needs skopeo")
    layout = f"oci:{system.store}/oci:small"
    run("skopeo", "copy", "--quiet", layout, f"oci:{tmp_path}/layout:one")
    run("skopeo", "copy", "--quiet", layout, f"oci-archive:{tmp_path}/archive.tar:one")
    tree = read_image(store, plain.tree)
    with registry(tmp_path) as address:
        run(
            "skopeo",
            "copy",
            "--quiet",
            "--dest-tls-verify=false",
            layout,
            f"docker://{address}/team/small:one",
        )
        bases = {
            "layout": "oci:../layout:one",
            "archive": "oci-archive:../archive.tar:one",
            "registry": f"docker://{address}/team/small:one",
            "recipe": f"{os.path.relpath(system.folder, tmp_path / 'recipe')}/atoll.toml",
        }
        for name, base in bases.items():
            other = open_store(tmp_path / f"store-{name}", create=True)
            if name == "recipe":
                copy_cache(system.store, other.root, "debs", "apt", "roots", "steps")
            built, _ = build(derived(tmp_path / name, base), other)
            assert changed(tree, read_image(other, built.tree)) <= RECORDS, base
            assert check_store(other, NullReporter()) == ()
            if name == "registry":
                first = built.tree
        again = open_store(tmp_path / "store-elsewhere", create=True)
        shutil.copytree(tmp_path / "registry", tmp_path / "elsewhere")
        assert build(read_recipe(tmp_path / "elsewhere"), again)[0].tree == first


def test_packages_are_added_to_what_is_there(system: System, store: Store, tmp_path: Path) -> None:
    standin.write_deb(
        tmp_path,
        "extra",
        {
            "opt/extra/bin/run": "#!/bin/sh\n",
            "usr/lib/systemd/system/extra.service": standin.TRAP_UNIT.replace("trapped", "extras"),
            "var/lib/misc/extra-state": "starts so\n",
        },
        postinst="#!/bin/sh\nset -e\ndpkg-query -W trap > /dev/null\n"
        "deb-systemd-helper enable extra.service\n",
    )
    more = 'packages = { install = ["./extra.deb", "tree"], remove = ["python3-minimal"] }\n'
    more += '[[file]]\npath = "/etc/motd"\ntext = "mine\\n"\n'
    recipe = derived(tmp_path, "store:small", more)
    built, titles = build(recipe, store)
    assert "Making the initrd" not in titles  # nothing that is in it has changed
    mine = System(system.folder, system.store, built.tree, "")
    said = mine.shell(
        "cd root; ls usr/lib/opt; cat etc/motd; chroot . apt-mark showmanual;"
        "chroot . dpkg-query -W -f '${Package}\\n'; cat etc/hostname;"
        "ls -l etc/systemd/system/multi-user.target.wants; chroot . tree --version"
    )
    words = said.split()
    assert {"extra", "trap", "mine", "small", "tree", "extra.service", "trap.service"} <= set(words)
    assert "python3-minimal" not in words
    verified = mine.shell(
        "systemd-tmpfiles --version > /dev/null; chroot root systemd-tmpfiles"
        " --create --prefix=/var; chroot root dpkg --verify || true"
    )
    assert [line for line in verified.splitlines() if " c /" not in line] == []
    assert mine.read("/var/lib/misc/extra-state", seeded=True) == "starts so\n"
    before, after = read_image(store, read_ref(store, "small").tree), read_image(store, built.tree)
    assert find_node(after, "usr/lib/opt/extra/bin/run")
    old, new = lines(before), lines(after)
    kept = [path for path in old if path in new and path.startswith("/usr/share/zoneinfo/E")]
    assert kept
    files = [path for path in kept if not old[path].split()[1].startswith("4")]
    assert all(old[path] == new[path] for path in files)


def test_an_initrd_is_made_again_when_it_has_to_be(
    store: Store, plain: Plain, tmp_path: Path
) -> None:
    setting = '[[file]]\npath = "/etc/dracut.conf.d/mine.conf"\ntext = "# mine\\n"\n'
    _, titles = build(derived(tmp_path, "store:small", setting), store)
    assert "Making the initrd" in titles
    assert build(plain.recipe, store)[0].tree == plain.tree


def test_a_kernel_can_be_replaced(system: System, store: Store, tmp_path: Path) -> None:
    standin.write_deb(
        tmp_path,
        "linux-image-9.9-mine",
        {"boot/vmlinuz-9.9-mine": "kernel\n", "usr/lib/modules/9.9-mine/modules.order": "\n"},
    )
    packages = json.loads(system.read("/usr/lib/atoll/packages.json"))
    old = [name for name, _, _ in packages if name.startswith("linux-image-")]
    more = f'packages = {{ install = ["./linux-image-9.9-mine.deb"], remove = {old} }}\n'
    built, titles = build(derived(tmp_path, "store:small", more), store)
    assert "Making the initrd" in titles
    mine = System(system.folder, system.store, built.tree, "")
    said = mine.shell("cd root; ls usr/lib/modules usr/lib/modules/*; chroot . dpkg-divert --list")
    assert "cloud" not in said
    assert {"9.9-mine", "vmlinuz", "initrd"} <= set(said.split())


@pytest.mark.usefixtures("plain")
def test_the_base_is_in_debians_shape_for_apt(store: Store) -> None:
    tree = read_ref(store, "small").tree
    root = store.root / "cache/roots" / base_root_name(tree)
    installed = read_installed(store, tree)
    assert "openssh-server" in {stanza.name for stanza in installed.stanzas}
    assert 0 < len(installed.automatic) < len(installed.stanzas)
    assert (root / "var/lib/apt/extended_states").exists()
    assert (root / "opt/trap/bin/raise").stat().st_mode & 0o7777 == 0o4755
    for name in ("usr/lib/opt", "usr/lib/atoll/var", "usr/lib/atoll/factory"):
        assert not (root / name).exists()
    words = ["dpkg", "--root", str(root), "--verify"]
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    assert [line for line in said.splitlines() if " c /" not in line] == []


def test_a_cut_while_the_base_is_unpacked_leaves_nothing(
    store: Store, plain: Plain, tmp_path: Path
) -> None:
    roots = store.root / "cache/roots"
    kept = roots / base_root_name(read_ref(store, "small").tree)
    shutil.rmtree(kept)
    recipe = derived(tmp_path, "store:small", '[[file]]\npath = "/etc/cut"\ntext = ""\n')
    with pytest.raises(BrokenProcessPool):
        in_child(_build_cut, recipe, store)
    assert not kept.exists()
    assert list(roots.glob(".new-*"))
    tree = read_image(store, build(recipe, store)[0].tree)
    assert changed(read_image(store, plain.tree), tree) - RECORDS == {"/etc/cut"}
    assert not list(roots.glob(".new-*"))
    assert str(store.root) not in Path("/proc/mounts").read_text()


def test_recipes_that_wait_for_each_other_are_refused(store: Store, tmp_path: Path) -> None:
    for name, other in (("one", "two"), ("two", "three"), ("three", "one")):
        write_derived(tmp_path / name, f"../{other}/atoll.toml")
    pattern = "itself: .*/one/.* → .*/two/.* → .*/three/.* → .*/one/"
    with pytest.raises(RecipeError, match=pattern):
        build(read_recipe(tmp_path / "one"), store)
