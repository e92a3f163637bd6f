"""Modes of what verbs write: the same whatever the caller's umask, closed where it is secret."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from atoll.cli.main import main
from tests.machines import Maker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

UMASKS = (0o022, 0o000, 0o027, 0o077)
SECRET = "root:$y$secret-hash:1::::::\n"


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def run_verbs(folder: Path, maker: Maker) -> None:
    """Every verb that writes and needs neither a network nor a virtual machine."""
    machine, store, layout = folder / "machine", folder / "store", maker.folder / "layout"
    at = ("--root", str(machine))
    one, two = (f"oci:{layout}:hello-{version}" for version in "12")
    follow = f"oci:{layout}:hello"
    for words in (
        ("pull", one, "--store", str(store)),
        ("install", one, "--follow", follow, "--store", str(store), *at, "--into-directory"),
        ("health", "bless", *at, "--deployment", "1"),
        ("pin", "1", *at),
        ("unpin", "1", *at),
        ("upgrade", *at),
        ("cancel", *at),
        ("rebase", two, *at),
        ("health", "bless", *at, "--deployment", "2"),
        ("rollback", "1", *at),
        ("rollback", "2", "--keep-etc", *at),
        ("gc", *at),
        ("disk", one, str(folder / "disk.img"), "--store", str(store)),
        ("tree", "image", str(maker.folder / "root-hello-1"), str(folder / "image")),
    ):
        code = main(words)
        assert code in (0, 7, 77), f"{words} gave {code}"
    (machine / "atoll/deployments/1/etc/upper/motd").write_text("mine\n")
    main(["etc", "reset", "/etc/motd", "--deployment", "1", *at])


def modes_below(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode)
        for path in folder.rglob("*")
        if not path.is_symlink()
    }


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """What the verbs wrote, by the umask they were called with."""
    folder = tmp_path_factory.mktemp("modes")
    with umask(0o022):
        maker = Maker(folder / "maker")
        maker.publish("1", {"etc/shadow": SECRET})
        maker.publish("2", {"etc/shadow": SECRET})
    found = {}
    for mask in UMASKS:
        found[mask] = folder / f"{mask:03o}"
        found[mask].mkdir(mode=0o755)
        with umask(mask):
            run_verbs(found[mask], maker)
    return found


@pytest.mark.parametrize("mask", UMASKS[1:], ids=oct)
def test_modes_do_not_depend_on_the_umask(mask: int, trees: dict[int, Path]) -> None:
    assert modes_below(trees[mask]) == modes_below(trees[0o022])


def test_a_new_repository_can_be_read_whatever_the_umask(tmp_path: Path) -> None:
    with umask(0o077):
        assert main(["new", str(tmp_path / "new")]) == 0
    modes = set(modes_below(tmp_path).values())
    assert modes <= {0o644, 0o755}


@pytest.mark.parametrize("mask", UMASKS, ids=oct)
def test_what_systems_show_as_etc_and_var_is_open(mask: int, trees: dict[int, Path]) -> None:
    atoll = trees[mask] / "machine/atoll"
    uppers = list(atoll.glob("deployments/*/etc/upper"))
    assert uppers
    for path in (*uppers, atoll / "var", trees[mask] / "machine"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o755, path


@pytest.mark.parametrize("mask", UMASKS, ids=oct)
def test_nobody_else_reaches_what_only_root_may_read(mask: int, trees: dict[int, Path]) -> None:
    """Each file whose content has the secret, or could, is behind a closed door."""
    folder = trees[mask]
    seen = 0
    for path in folder.rglob("*"):
        if not path.is_file() or b"secret-hash" not in path.read_bytes():
            continue
        seen += 1
        way = [path, *(each for each in path.parents if each.is_relative_to(folder))]
        assert any(not each.stat().st_mode & 0o007 for each in way), path
    assert seen >= 3
    for name in ("machine/atoll", "store", "disk.img"):
        assert not (folder / name).stat().st_mode & 0o077, name


@pytest.mark.parametrize("mask", UMASKS, ids=oct)
def test_nothing_is_writable_for_others(mask: int, trees: dict[int, Path]) -> None:
    assert [name for name, mode in modes_below(trees[mask]).items() if mode & 0o022] == []


def test_what_an_earlier_version_left_open_is_closed(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "maker")
    image = maker.publish("1", {"etc/shadow": SECRET})
    sysroot = maker.install(tmp_path / "machine", image)
    store = maker.store.root
    opened = (sysroot.atoll, *(store / name for name in ("objects", "images", "refs", "staging")))
    for path in opened:
        path.chmod(0o755)
    assert main(["pin", "1", "--root", str(sysroot.root)]) == 0
    assert main(["store", "list", "--store", str(store)]) == 0
    assert [path for path in opened if path.stat().st_mode & 0o077] == []


def test_a_directory_of_the_persons_stays_as_open_as_it_is(tmp_path: Path) -> None:
    """A store is made in it; what else is in it belongs to whoever put it there."""
    place = tmp_path / "shared"
    place.mkdir(mode=0o755)
    (place / "notes").write_text("mine\n")
    maker = Maker(tmp_path / "maker")
    image = maker.publish("1")
    assert main(["pull", image.reference, "--store", str(place)]) == 0
    assert stat.S_IMODE(place.stat().st_mode) == 0o755
    assert not (place / "objects").stat().st_mode & 0o077
