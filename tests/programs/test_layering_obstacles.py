"""What can be in the way of ``add``, ``apply`` and ``upgrade`` with layers: each is said by name,
and nothing changes. When it is gone, the same verb comes to its end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest

from atoll.host.fs import locked
from atoll.machine.deployments.sysroot import Sysroot
from tests.archive import Key, make_key
from tests.life import Wanted, format_wanted, parse_wanted
from tests.machines import check_machine
from tests.tiny_system import Done, TinyWorld, run_verb, served_apart, tiny_world
from tests.wayback_checker import loader_entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

VERBS = {"add": ("add", "extra"), "apply": ("apply",), "upgrade": ("upgrade",)}
BUSY, NO_SPACE, NO_NETWORK = 9, 6, 5
MB = 1 << 20
LONG_AGO = "20200101T000000!"


def verbs(quick: str) -> list[object]:
    """``quick`` always runs, the others with --long."""
    return [pytest.param(verb, marks=() if verb == quick else pytest.mark.long) for verb in VERBS]


@dataclass
class Machine:
    """It follows an image that has a newer version, and its machine file wants a package that is
    not there yet."""

    world: TinyWorld
    template: Path
    root: Path

    def restore(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        subprocess.run(["cp", "-a", self.template, self.root], check=True)

    def run(self, verb: str, before: Callable[[], object] = lambda: None) -> Done:
        return run_verb(self.world, self.root, *VERBS[verb], booted=1, before=before)

    @property
    def upper(self) -> Path:
        return self.root / "atoll/deployments/1/etc/upper"

    @property
    def file(self) -> Path:
        return self.upper / "atoll/machine.toml"

    @property
    def next(self) -> str:
        return loader_entries(self.root / "esp")[0].deployment

    def forget_packages(self) -> None:
        shutil.rmtree(self.root / "atoll/cache/debs", ignore_errors=True)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("m")
    with tiny_world(tmp_path_factory.mktemp("o")) as world:
        for name in ("tool", "extra"):
            world.offer((name, "1", {}))
        image = world.publish("1")
        sysroot = world.maker.install(folder / "template", image, follow=world.maker.follow("reef"))
        machine = Machine(world=world, template=sysroot.root, root=folder / "machine")
        file = sysroot.root / "atoll/deployments/1/etc/upper/atoll/machine.toml"
        file.parent.mkdir(parents=True)
        file.write_text(format_wanted(Wanted(install=("tool",), layers="drop")))
        world.publish("2")
        yield machine


@pytest.fixture
def machine(prepared: Machine) -> Machine:
    prepared.restore()
    return prepared


def refused(machine: Machine, verb: str, before: Callable[[], object] = lambda: None) -> Done:
    """The verb fails without a word of Python; machine and machine file are as they were."""
    text, entries = machine.file.read_bytes(), sorted((machine.root / "esp").rglob("*"))
    done = machine.run(verb, before)
    assert done.code not in (0, 1, 70, 77), done.told
    assert "Traceback" not in done.told
    assert machine.file.read_bytes() == text and machine.next == "1"
    assert sorted((machine.root / "esp").rglob("*")) == entries
    assert not (machine.root / "atoll/state/layers.json").exists(), done.told
    assert not list((machine.root / "atoll/state").glob(".machine.*"))
    return done


def succeeds(machine: Machine, verb: str) -> None:
    done = machine.run(verb)
    assert done.code == 0, done.told
    assert machine.next != "1"
    wanted = parse_wanted(machine.file)
    assert wanted is not None and "tool" in wanted.install
    check_machine(Sysroot(root=machine.root, esp=machine.root / "esp"))


@contextmanager
def in_the_mirror(machine: Machine, work: Callable[[Path], object]) -> Iterator[None]:
    """``work`` changes the archive's suite; afterwards it is as before."""
    suite = machine.world.archive.root / "dists/trixie"
    kept = suite.with_name("kept")
    subprocess.run(["cp", "-a", suite, kept], check=True)
    try:
        work(suite)
        for path in suite.rglob("*"):
            os.utime(path)
        yield
    finally:
        shutil.rmtree(suite)
        kept.rename(suite)


def expire(machine: Machine, suite: Path) -> None:
    release = suite / "Release"
    release.write_text(release.read_text() + "Valid-Until: Thu, 02 Jan 2020 00:00:00 UTC\n")
    key = machine.world.archive.key
    assert key is not None
    sign(key, suite)


def sign(key: Key, suite: Path, *more: str) -> None:
    (suite / "InRelease").unlink()
    key._gpg(*more, "--clearsign", "--output", str(suite / "InRelease"), str(suite / "Release"))


def sign_by_old_key(machine: Machine, suite: Path) -> None:
    folder = machine.world.folder / "old"
    shutil.rmtree(folder, ignore_errors=True)
    key = make_old_key(folder)
    shutil.copy(key.public, machine.world.folder / "believed/old.asc")
    sign(key, suite, "--faked-system-time", LONG_AGO)
    key.end()


def make_old_key(folder: Path) -> Key:
    """A key that expired long ago."""
    key = make_key(folder, "first")
    user = "old <old@example>"
    old = ("--faked-system-time", LONG_AGO)
    key._gpg(*old, "--quick-generate-key", user, "ed25519", "sign", "1d")
    key.public.write_bytes(key._gpg("--armor", "--export", user))
    fingerprint = next(
        line.split(b":")[9].decode()
        for line in key._gpg("--with-colons", "--list-keys", user).splitlines()
        if line.startswith(b"fpr")
    )
    (key.home / "gpg.conf").write_text(f"default-key {fingerprint}!\n")
    return key


MIRRORS: dict[str, tuple[Callable[[Machine, Path], object], str]] = {
    "out of date": (expire, "InRelease expired"),
    "key expired": (sign_by_old_key, "has expired: old <old@example>"),
    "suite gone": (lambda _machine, suite: shutil.rmtree(suite / "main"), "trixie"),
}


@pytest.mark.parametrize("verb", verbs("upgrade"))
@pytest.mark.parametrize("obstacle", MIRRORS)
def test_the_mirror(machine: Machine, verb: str, obstacle: str) -> None:
    """No package is left out for it, whatever ``[update] layers`` says."""
    work, told = MIRRORS[obstacle]
    with in_the_mirror(machine, partial(work, machine)):
        assert told in refused(machine, verb).told


@pytest.mark.network
@pytest.mark.parametrize("verb", verbs("add"))
def test_the_network_goes_in_the_middle(machine: Machine, verb: str) -> None:
    """The lists came, the packages do not."""
    with served_apart(machine.world) as server:

        def cut_off(event: str, arguments: tuple[object, ...]) -> None:
            if event == "os.mkdir" and "/debs/.new-" in str(arguments[0]):
                os.kill(server, signal.SIGKILL)

        machine.forget_packages()
        done = refused(machine, verb, lambda: sys.addaudithook(cut_off))
        assert done.code == NO_NETWORK, done.told


@pytest.mark.parametrize("verb", verbs("apply"))
def test_two_at_once(machine: Machine, verb: str) -> None:
    with locked(machine.root / "atoll/state/lock", what="the machine"):
        done = refused(machine, verb)
    assert done.code == BUSY and "the machine in" in done.told, done.told


@pytest.mark.parametrize("place", ["", "esp"])
@pytest.mark.parametrize("verb", verbs("add"))
def test_no_space(machine: Machine, verb: str, place: str) -> None:
    """Of either file system; the space that was tried is free again."""
    with small_file_system(machine.root / place) as filler:
        done = refused(machine, verb)
        assert done.code == NO_SPACE, done.told
        filler.unlink()
        if verb == "add":
            succeeds(machine, verb)


@contextmanager
def small_file_system(place: Path) -> Iterator[Path]:
    """``place`` on a file system of its own, which a file fills."""
    kept = place.with_name("kept")
    place.rename(kept)
    place.mkdir()
    with ExitStack() as stack:
        size = "size=400m" if place.name == "machine" else "size=20m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "test", place], check=True)
        stack.callback(partial(subprocess.run, ["umount", "--lazy", place], check=True))
        subprocess.run(["cp", "-a", f"{kept}/.", place], check=True)
        shutil.rmtree(kept)
        free = shutil.disk_usage(place).free
        with (place / "filler").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free - (MB // 64 if place.name == "esp" else MB))
        yield place / "filler"


def at_the_build(work: Callable[[], object]) -> Callable[[], None]:
    """Installs a hook that does ``work`` once, when the tree is being built."""
    left = [work]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if left and event == "os.mkdir" and "cache/steps" in str(arguments[0]):
            left.pop()()

    return lambda: sys.addaudithook(hook)


@pytest.mark.parametrize("verb", verbs("upgrade"))
def test_etc_changes_meanwhile(machine: Machine, verb: str) -> None:
    """A setting comes along; a machine file that a person writes meanwhile is not lost."""
    setting = machine.upper / "mine.conf"
    done = machine.run(verb, at_the_build(lambda: setting.write_text("mine\n")))
    assert done.code == 0, done.told
    new = machine.root / "atoll/deployments/2/etc/upper/mine.conf"
    assert setting.read_text() == new.read_text() == "mine\n"

    machine.restore()
    text = format_wanted(Wanted(install=("tool",), args=frozenset({"mine"}), layers="drop"))
    done = machine.run(verb, at_the_build(lambda: machine.file.write_text(text)))
    assert done.code == BUSY and "/etc/atoll/machine.toml changed meanwhile" in done.told
    assert machine.file.read_text() == text and machine.next == "1"
    succeeds(machine, verb)


def test_a_broken_machine_file(machine: Machine) -> None:
    before = machine.file.read_text()
    texts = ("schema = 1\n[packages\n", 'schema = 1\n[packages]\ninstal = ["x"]\n', "\0")
    for text, verb in zip(texts, VERBS, strict=True):
        machine.file.write_text(text)
        done = refused(machine, verb)
        assert "/etc/atoll/machine.toml" in done.told, done.told
    machine.file.write_text(before)
    succeeds(machine, "upgrade")


def test_a_removed_package_that_the_image_no_longer_has(machine: Machine) -> None:
    """No archive knows it either: that must not hold the upgrade."""
    world = machine.world
    world.publish("old", {"doomed": "1"}, name="other")
    machine.file.write_text(format_wanted(Wanted(install=("tool",), remove=frozenset({"doomed"}))))
    other = world.maker.follow("other")
    done = run_verb(world, machine.root, "rebase", other, booted=1)
    assert done.code == 0, done.told
    world.publish("new", name="other")
    machine.file.write_text(format_wanted(Wanted(install=("tool",), remove=frozenset({"doomed"}))))
    done = run_verb(world, machine.root, "upgrade", booted=1)
    assert done.code == 0 and "no longer contains doomed" in done.told, done.told
    assert parse_wanted(machine.file) == Wanted(install=("tool",))
