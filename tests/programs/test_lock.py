"""Locks against an archive made here: what is chosen, kept, moved, fetched and refused.

apt of this machine works on it as on any mirror; no package is installed, so nothing needs root.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import (
    AtollError,
    Damaged,
    NetworkError,
    NotFound,
    PackageError,
    RecipeError,
    Refused,
)
from atoll.base.ids import TreeId
from atoll.base.report import NullReporter
from atoll.builder.build_context import BuildContext
from atoll.builder.cache import Cache, opened_cache
from atoll.builder.lock_command import LockResult, audit, follow_recipe, update
from atoll.builder.steps.packages import LockedPackages
from atoll.builder.use_lock import check_tree, choose_lock, complete_lock
from atoll.debian.local_archive import deb_path
from atoll.debian.sources import read_architecture
from atoll.lock.path import lock_path
from atoll.lock.requirements import format_time, package_requirements
from atoll.lock.resolve import require_fit
from atoll.lock.serialize import read_lock
from atoll.recipe.model import (
    Debian,
    DebianBase,
    EmptyBase,
    File,
    Image,
    LocalReference,
    Packages,
    Recipe,
    Repository,
)
from atoll.store.layout import Store, open_store
from tests.archive import EPOCH, Archive, Key, control_text, make_deb, make_key, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atoll.debian.pin import Pin
    from atoll.lock.model import Lock

pytestmark = pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("gpg", "apt-get", "dpkg-deb")),
    reason="needs gpg, apt and dpkg-deb",
)
NATIVE = "amd64"
QUIET = NullReporter()
FIRST, SECOND = TreeId("1" * 64), TreeId("2" * 64)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Key, Key]]:
    # the path of an agent's socket must be short
    folder = tmp_path_factory.mktemp("k")
    found = make_key(folder, "debian"), make_key(folder, "vendor")
    yield found
    for key in found:
        key.end()


@dataclass
class World:
    """An archive on loopback, a store, and a recipe that uses them."""

    archive: Archive
    store: Store
    recipe: Recipe
    url: str
    folder: Path

    def want(self, *install: str, **more: object) -> Recipe:
        """The recipe with these packages; it is the recipe from then on."""
        packages = replace(self.recipe.packages, install=install, **more)  # type: ignore[arg-type]
        self.recipe = replace(self.recipe, packages=packages)
        return self.recipe

    def debian(self, **more: object) -> None:
        debian = replace(self.recipe.debian, **more)  # type: ignore[arg-type]
        self.recipe = replace(self.recipe, debian=debian)

    def repository(self, name: str, **more: object) -> None:
        repo = Repository(name=name, uris=(f"{self.url}/{name}",), suites=("stable",), **more)  # type: ignore[arg-type]
        self.recipe = replace(self.recipe, repositories=(*self.recipe.repositories, repo))

    def choose(self, *, locked: bool = False, offline: bool = False) -> Lock:
        """The lock that a build would follow."""
        return choose_lock(
            BuildContext(
                recipe=self.recipe,
                store=self.store,
                cache=self.cache,
                reporter=QUIET,
                locked=locked,
                offline=offline,
            )
        )

    def lock(self) -> dict[str, Pin]:
        return by_name(follow_recipe(self.recipe, self.store, QUIET))

    def update(self, *names: str) -> dict[str, Pin]:
        return by_name(update(self.recipe, self.store, names, QUIET))

    def fetch(self, *, offline: bool = False) -> None:
        """Let the cache hold the locked packages."""
        lock = read_lock(lock_path(self.recipe))
        with opened_cache(self.store.root / "cache") as cache:
            supply = LockedPackages(
                recipe=self.recipe, lock=lock, cache=cache, reporter=QUIET, offline=offline
            )
            supply.fetch(lock.packages)

    def forget_packages(self) -> None:
        shutil.rmtree(self.store.root / "cache/debs")

    @property
    def cache(self) -> Cache:
        return Cache(root=self.store.root / "cache")


def by_name(done: LockResult) -> dict[str, Pin]:
    return {
        pin.name if pin.architecture in ("all", NATIVE) else f"{pin.name}:{pin.architecture}": pin
        for pin in done.lock.packages
    }


@pytest.fixture
def world(
    tmp_path: Path,
    keys: tuple[Key, Key],
    monkeypatch: pytest.MonkeyPatch,
    bare_recipes: None,  # noqa: ARG001
) -> Iterator[World]:
    """Three essential packages, apt, and some more. This machine's apt believes the archive's key,
    because its configuration says where keys are."""
    believed = tmp_path / "believed"
    believed.mkdir()
    shutil.copy(keys[0].public, believed / "test.asc")
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::parts "/dev/null";\nDir::Etc::trustedparts "{believed}";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    root = tmp_path / "archive"
    archive = Archive(root=root, key=keys[0])
    archive.add("trixie", "base-files", essential="yes")
    archive.add("trixie", "dpkg", essential="yes", pre_depends="libc")
    archive.add("trixie", "libc", "2.0")
    archive.add("trixie", "apt", depends="libc (>= 1)")
    archive.add("trixie", "editor", depends="libedit", recommends="spell")
    archive.add("trixie", "libedit", "1.0")
    archive.add("trixie", "spell")
    archive.add("trixie", "shell", depends="libedit | other")
    archive.publish()
    with serve(root) as url:
        recipe = Recipe(
            file=str(tmp_path / "atoll.toml"),
            text="",
            base=DebianBase(suite="trixie"),
            image=Image(name="test", version="1"),
            debian=Debian(suite="trixie", mirror=url, security=False, updates=False),
            packages=Packages(),
        )
        yield World(archive, open_store(tmp_path / "store", create=True), recipe, url, tmp_path)


if read_architecture() != NATIVE:
    pytestmark = pytest.mark.skip(reason="the archive made here is for amd64")


def test_a_lock_holds_what_is_essential_and_wanted_and_what_these_need(world: World) -> None:
    world.want("editor")
    pins = world.lock()
    assert sorted(pins) == ["apt", "base-files", "dpkg", "editor", "libc", "libedit"]
    assert {name for name, pin in pins.items() if pin.automatic} == {"libc", "libedit"}
    assert {pin.stage for pin in pins.values()} == {1}
    assert pins["editor"].path == "pool/editor_1_all.deb"
    lock = read_lock(lock_path(world.recipe))
    assert lock.epoch == EPOCH
    assert [(one.name, one.uri, one.suite) for one in lock.archives] == [
        ("trixie", world.url, "trixie")
    ]


def test_from_nothing_only_what_is_named_is_locked(world: World) -> None:
    world.recipe = replace(world.recipe, base=EmptyBase())
    world.want("editor")
    assert sorted(world.lock()) == ["editor", "libedit"]


def test_recommended_packages_come_when_the_recipe_says_so(world: World) -> None:
    world.want("editor", recommends=True)
    assert world.lock()["spell"].automatic


def test_only_the_newest_version_says_what_is_essential(world: World) -> None:
    world.archive.add("trixie", "old", "1", essential="yes")
    world.archive.add("trixie", "old", "2")
    world.archive.publish()
    assert "old" not in world.lock()


def test_an_unknown_package_is_told_with_names_near_it(world: World) -> None:
    world.want("edittor")
    with pytest.raises(PackageError, match="trixie has no package edittor") as caught:
        world.lock()
    assert caught.value.hint == "did you mean editor?"
    assert not lock_path(world.recipe).exists()


def test_packages_that_do_not_fit_together(world: World) -> None:
    world.archive.add("trixie", "broken", depends="libedit (>= 9)")
    world.archive.publish()
    world.want("broken")
    with pytest.raises(PackageError, match=r"broken : Depends: libedit \(>= 9\)"):
        world.lock()


def test_a_package_from_another_suite_brings_only_itself(world: World) -> None:
    world.archive.add("sid", "editor", "5", depends="libedit")
    world.archive.add("sid", "libedit", "5")
    world.archive.publish()
    world.want("editor/sid")
    pins = world.lock()
    assert (pins["editor"].version, pins["editor"].archive) == ("5", "sid")
    assert pins["libedit"].version == "1.0"


def test_a_version_is_kept_whatever_is_newer(world: World) -> None:
    world.archive.add("trixie", "editor", "2.1-1", depends="libedit")
    world.archive.add("trixie", "editor", "3.0-1", depends="libedit")
    world.archive.publish()
    world.want("editor", versions=(("editor", "2.*"),))
    assert world.lock()["editor"].version == "2.1-1"


def vendor_archive(world: World, key: Key | None) -> Archive:
    vendor = Archive(root=world.archive.root / "vendor", key=key, origin="Vendor")
    vendor.add("stable", "editor", "9", depends="libedit")
    vendor.add("stable", "libedit", "9")
    vendor.publish()
    return vendor


def test_a_repository_has_a_key_and_a_priority(world: World, keys: tuple[Key, Key]) -> None:
    vendor_archive(world, keys[1])
    shutil.copy(keys[1].public, world.folder / "vendor.asc")
    world.repository("vendor", key="vendor.asc", priority=100)
    world.want("editor")
    assert world.lock()["editor"].version == "1"
    world.recipe = replace(world.recipe, repositories=())
    world.repository("vendor", key="vendor.asc")
    pins = world.update()
    assert (pins["editor"].version, pins["libedit"].version) == ("9", "9")


def test_one_package_from_a_repository(world: World, keys: tuple[Key, Key]) -> None:
    vendor_archive(world, keys[1])
    shutil.copy(keys[1].public, world.folder / "vendor.asc")
    world.repository("vendor", key="vendor.asc", priority=100)
    world.want("editor", sources=(("editor", "vendor"),))
    pins = world.lock()
    assert (pins["editor"].archive, pins["libedit"].archive) == ("vendor", "trixie")


def test_a_repository_whose_key_is_not_given_is_refused(
    world: World, keys: tuple[Key, Key]
) -> None:
    vendor_archive(world, keys[1])
    world.repository("vendor")
    with pytest.raises(PackageError, match="not signed by a trusted key") as caught:
        world.lock()
    assert "[[repo]]" in str(caught.value.hint)


def test_a_key_that_is_not_there_is_told(world: World) -> None:
    world.repository("vendor", key="vendor.asc")
    with pytest.raises(RecipeError, match=r"vendor\.asc: no such file"):
        world.lock()


@pytest.mark.parametrize("scheme", ["http", "file"])
@pytest.mark.parametrize(
    ("folder", "suite", "key"),
    [
        ("vendor", "/", "vendor.asc"),
        ("re_po~1/core:/v1.0+x", "./", "key.gpg"),
        ("with%20blank", "/", "vendor.key"),
        ("vendor", "deb_12/", "pub"),
        ("vendor", "stable/updates", "vendor.asc"),
        ("", "/", "vendor.asc"),
    ],
)
def test_vendors_repositories_of_every_form(
    world: World, keys: tuple[Key, Key], scheme: str, folder: str, suite: str, key: str
) -> None:
    root = world.archive.root.parent / "vendors"
    base = root / folder.replace("%20", " ")
    (base / "pool").mkdir(parents=True)
    shutil.copy(keys[1].public, world.folder / key)
    place = base / (suite if suite.endswith("/") else f"dists/{suite}/main/binary-amd64").lstrip(
        "/"
    )
    place.mkdir(parents=True, exist_ok=True)
    name = "tool_1%3a2.0+b~1_all.deb"
    make_deb(base / "pool" / name, control_text("tool", "1:2.0+b~1", "all", {}))
    words = ["dpkg-scanpackages", "--multiversion", "pool"]
    listed = subprocess.run(words, cwd=base, check=True, capture_output=True, text=True).stdout
    if suite == "./":
        listed = listed.replace("Filename: ", "Filename: ./")
    (place / "Packages").write_text(listed)
    top = place if suite.endswith("/") else base / "dists" / suite
    inner = str((place / "Packages").relative_to(top))
    digest = hashlib.sha256(listed.encode()).hexdigest()
    (top / "Release").write_text(f"SHA256:\n {digest} {len(listed.encode())} {inner}\n")
    keys[1].sign(top / "Release", top / "InRelease")
    with serve(root) as url:
        address = f"{url}/{folder}" if scheme == "http" else f"file://{root}/{folder}"
        repo = Repository(
            name="vendor",
            uris=(address,),
            suites=(suite,),
            key=key,
            components=() if suite.endswith("/") else ("main",),
        )
        world.recipe = replace(world.recipe, repositories=(repo,))
        # a version of atoll in the recipe: none comes by itself
        world.want("tool", versions=(("atoll", "*"),))
        pin = world.lock()["tool"]
        assert (pin.version, pin.archive, pin.path) == ("1:2.0+b~1", "vendor", f"pool/{name}")
        world.fetch()
    assert deb_path(world.store.root / "cache/debs", pin).exists()
    archive = next(one for one in world.choose().archives if one.name == "vendor")
    assert archive.release == hashlib.sha256((top / "InRelease").read_bytes()).hexdigest()


def test_foreign_architectures(world: World) -> None:
    world.archive.add("trixie", "game", architecture="i386", depends="libgl")
    world.archive.add("trixie", "libgl", architecture="i386", multi_arch="same")
    world.archive.add("trixie", "libgl", architecture="amd64", multi_arch="same")
    world.archive.publish("amd64", "i386")
    world.debian(architectures=("i386",))
    world.want("game:i386", "libgl")
    pins = world.lock()
    assert pins["game:i386"].architecture == "i386"
    assert pins["libgl:i386"].automatic and not pins["libgl"].automatic


def test_local_packages_are_pinned_by_content(world: World) -> None:
    deb = world.folder / "mine.deb"
    make_deb(deb, control_text("mine", "1", "all", {"depends": "libedit"}))
    world.want(local=("mine.deb",))
    pins = world.lock()
    assert (pins["mine"].archive, pins["mine"].path) == ("", "mine.deb")
    assert pins["libedit"].automatic
    world.fetch()
    before = read_lock(lock_path(world.recipe))
    make_deb(deb, control_text("mine", "1", "all", {"depends": "libedit", "section": "misc"}))
    with pytest.raises(RecipeError, match=r"\+ local mine\.deb"):
        require_fit(
            before, world.recipe, package_requirements(world.recipe), file=lock_path(world.recipe)
        )
    after = world.lock()
    assert after["mine"].sha256 != pins["mine"].sha256
    assert after["libedit"] == pins["libedit"]


@pytest.mark.parametrize("names", [(), ("mine",)])
def test_a_local_package_that_changed_needs_no_copy_of_the_one_before(
    world: World, names: tuple[str, ...]
) -> None:
    """Neither its folder nor a cache has it any more."""
    deb = world.folder / "mine.deb"
    make_deb(deb, control_text("mine", "1", "all", {"depends": "libedit"}))
    world.want(local=("mine.deb",))
    world.lock()
    world.fetch()
    world.forget_packages()
    make_deb(deb, control_text("mine", "2", "all", {"depends": "libedit, spell"}))
    pins = world.update(*names) if names else world.lock()
    assert pins["mine"].version == "2" and "spell" in pins


def test_a_file_that_is_no_package_is_refused(world: World) -> None:
    (world.folder / "mine.deb").write_bytes(b"!<arch>\nno package")
    world.want(local=("mine.deb",))
    with pytest.raises(PackageError, match=r"mine\.deb is not a Debian package"):
        world.lock()


def test_what_the_recipe_adds_comes_as_a_stage_of_its_own(world: World) -> None:
    world.want("editor")
    before = world.lock()
    world.archive.add("trixie", "libedit", "2.0")
    world.archive.publish()
    world.want("editor", "spell")
    pins = world.lock()
    assert pins.pop("spell").stage == 2
    assert pins == before
    world.want("editor", "spell", "shell")
    assert world.lock()["shell"].stage == 3


def test_what_cannot_be_added_without_a_change_makes_one_stage(world: World) -> None:
    world.want("editor")
    world.lock()
    world.archive.add("trixie", "libedit", "2.0")
    world.archive.add("trixie", "viewer", depends="libedit (>= 2)")
    world.archive.add("trixie", "editor", "7", depends="libedit")
    world.archive.publish()
    world.want("editor", "viewer")
    pins = world.lock()
    assert {pin.stage for pin in pins.values()} == {1}
    assert pins["libedit"].version == "2.0" and pins["libedit"].automatic
    assert pins["editor"].version == "1"


def test_what_the_recipe_drops_goes_with_what_only_that_needed(world: World) -> None:
    world.want("editor", "spell")
    world.lock()
    world.want("spell")
    assert sorted(world.lock()) == ["apt", "base-files", "dpkg", "libc", "spell"]


def test_a_word_that_changes_is_looked_up_again(world: World) -> None:
    world.want("editor")
    world.lock()
    world.archive.add("sid", "editor", "5", depends="libedit")
    world.archive.publish()
    world.want("editor/sid")
    assert world.lock()["editor"].version == "5"


def test_a_lock_that_fits_is_not_written(world: World) -> None:
    world.want("editor")
    world.lock()
    stamp = lock_path(world.recipe).stat().st_mtime_ns
    assert not follow_recipe(world.recipe, world.store, QUIET).written
    assert not update(world.recipe, world.store, (), QUIET).written
    assert lock_path(world.recipe).stat().st_mtime_ns == stamp


def test_a_build_does_not_move_its_lock(world: World) -> None:
    world.want("editor")
    world.lock()
    text = lock_path(world.recipe).read_bytes()
    world.choose()
    world.want("editor", "spell")
    with pytest.raises(RecipeError, match=r"no longer fits the recipe\n    \+ install spell"):
        world.choose()
    assert lock_path(world.recipe).read_bytes() == text


@pytest.mark.parametrize("option", ["locked", "offline"])
def test_without_a_lock_nothing_is_chosen(world: World, option: str) -> None:
    with pytest.raises(NotFound, match="no lock"):
        world.choose(**{option: True})


def test_a_build_without_a_lock_makes_one_and_writes_it_when_it_is_done(world: World) -> None:
    world.want("editor")
    lock = world.choose()
    assert not lock_path(world.recipe).exists()
    whole = complete_lock(world.recipe, lock, users={"_apt": 42}, tree=FIRST)
    assert read_lock(lock_path(world.recipe)) == whole
    assert (whole.tree, whole.users) == (FIRST, (("_apt", 42),))


def test_what_a_build_gave_stays_in_the_lock(world: World) -> None:
    world.want("editor")
    world.lock()
    whole = complete_lock(world.recipe, world.choose(), users={"_apt": 42}, tree=FIRST)
    assert world.choose() == world.choose(locked=True) == whole
    check_tree(whole, FIRST, QUIET, locked=True)
    with pytest.raises(Refused, match="the lock names 1111"):
        check_tree(whole, SECOND, QUIET, locked=True)
    check_tree(whole, SECOND, QUIET, locked=False)
    assert complete_lock(world.recipe, whole, users={"_apt": 7}, tree=SECOND) == whole


def test_a_lock_follows_files_of_the_recipe_but_not_when_locked(world: World) -> None:
    (world.folder / "motd").write_text("hello\n")
    world.want("editor")
    world.recipe = replace(
        world.recipe,
        files=(File(path="/etc/motd", source="motd"),),
        local_files=(LocalReference("file.source", "motd", "/etc/motd"),),
    )
    world.lock()
    whole = complete_lock(world.recipe, world.choose(), tree=FIRST)
    assert [name for name, _ in whole.inputs] == ["atoll.toml", "motd"]
    (world.folder / "motd").write_text("changed\n")
    with pytest.raises(RecipeError, match="these changed after the lock was written: motd"):
        world.choose(locked=True)
    lock = world.choose()
    assert (lock.packages, lock.tree) == (whole.packages, None)
    assert complete_lock(world.recipe, lock, tree=SECOND).tree == SECOND


def test_one_package_is_updated_alone(world: World) -> None:
    world.want("editor", "spell")
    before = world.lock()
    for name in ("editor", "spell", "libc"):
        world.archive.add("trixie", name, "3", depends="libedit" if name == "editor" else "apt")
    world.archive.publish(date=EPOCH + 60)
    pins = world.update("spell")
    assert pins["spell"].version == "3"
    assert {name for name in pins if pins[name] != before[name]} == {"spell"}
    assert read_lock(lock_path(world.recipe)).epoch == EPOCH + 60
    done = update(world.recipe, world.store, (), QUIET)
    assert sorted(one.after.name for one in done.difference.changed) == ["editor", "libc"]


def test_an_update_takes_what_the_package_needs(world: World) -> None:
    world.want("editor", "spell")
    world.lock()
    world.archive.add("trixie", "libedit", "2.0")
    world.archive.add("trixie", "editor", "2", depends="libedit (>= 2)")
    world.archive.add("trixie", "spell", "2")
    world.archive.publish()
    pins = world.update("editor")
    versions = {name: pins[name].version for name in ("editor", "libedit", "spell")}
    assert versions == {"editor": "2", "libedit": "2.0", "spell": "1"}
    with pytest.raises(PackageError, match="not in the lock: nosuch"):
        world.update("nosuch")


def test_a_full_update_makes_one_stage(world: World) -> None:
    world.want("editor")
    world.lock()
    world.want("editor", "spell")
    world.lock()
    world.archive.add("trixie", "libedit", "2.0")
    world.archive.publish()
    assert {pin.stage for pin in world.update().values()} == {1}


def test_an_audit_names_security_updates_first(world: World) -> None:
    world.want("editor", "spell")
    world.lock()
    assert audit(world.recipe, world.store, QUIET) == ()
    world.archive.add("trixie", "editor", "2", depends="libedit")
    world.archive.add("trixie-security", "libedit", "1.0+deb13u1")
    world.archive.publish()
    world.debian(security=True, security_mirror=world.url)
    found = audit(world.recipe, world.store, QUIET)
    assert [(one.pin.name, one.newer.version, one.security) for one in found] == [
        ("libedit", "1.0+deb13u1", True),
        ("editor", "2", False),
    ]


def test_packages_come_from_the_mirror_and_then_from_the_cache(world: World) -> None:
    world.want("editor")
    world.lock()
    with pytest.raises(NotFound, match=r"6 packages are not in the cache: apt 1"):
        world.fetch(offline=True)
    world.fetch()
    shutil.rmtree(world.archive.root / "pool")
    world.fetch(offline=True)
    world.fetch()


def test_a_package_that_the_mirror_dropped_comes_from_a_snapshot(world: World) -> None:
    world.want("editor")
    world.lock()
    world.archive.keep_snapshot(format_time(EPOCH))
    world.archive.drop("trixie", "editor")
    world.archive.publish()
    with pytest.raises(NetworkError, match="1 package is no longer available: editor 1") as caught:
        world.fetch()
    assert "{snapshot}" in str(caught.value.hint)
    world.debian(mirror=world.url + "/snapshot/{snapshot}")
    require_fit(
        read_lock(lock_path(world.recipe)),
        world.recipe,
        package_requirements(world.recipe),
        file=lock_path(world.recipe),
    )
    world.fetch()


def test_an_old_snapshot_may_have_expired(world: World) -> None:
    world.archive.keep_snapshot("20200101T000000Z")
    for release in world.archive.root.glob("snapshot/*/dists/*/Release"):
        release.write_text(release.read_text() + "Valid-Until: Thu, 02 Jan 2020 00:00:00 UTC\n")
        (release.parent / "InRelease").unlink()
        assert world.archive.key is not None
        world.archive.key.sign(release, release.parent / "InRelease")
    world.want("editor")
    address = world.url + "/snapshot/20200101T000000Z"
    world.debian(mirror=address)
    with pytest.raises(AtollError, match="InRelease expired"):
        world.lock()
    world.debian(mirror=world.url + "/snapshot/{snapshot}", snapshot="20200101T000000Z")
    world.lock()
    assert read_lock(lock_path(world.recipe)).archives[0].uri == address


def test_a_package_with_other_bytes_is_refused(world: World) -> None:
    world.want("editor")
    world.lock()
    deb = world.archive.root / "pool/editor_1_all.deb"
    deb.write_bytes(deb.read_bytes().replace(b"ann@example", b"eve@example"))
    with pytest.raises(Damaged, match="editor 1"):
        world.fetch()
    assert not deb_path(world.cache.debs, world.lock()["editor"]).exists()


def test_a_package_that_changed_in_the_cache_is_not_installed(world: World) -> None:
    world.want("editor")
    pins = world.lock()
    world.fetch()
    path = deb_path(world.cache.debs, pins["editor"])
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    lock = read_lock(lock_path(world.recipe))
    supply = LockedPackages(recipe=world.recipe, lock=lock, cache=world.cache, reporter=QUIET)
    entries = supply.fetch(lock.packages)
    with pytest.raises(Damaged, match="is not the package editor"):
        supply.batch(entries)
    supply.batch(supply.fetch(lock.packages))
