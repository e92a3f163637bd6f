"""Atoll's own packages are added to a system automatically, and a lock pins them."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import atoll.lock.own_packages as own_module
from atoll.base.errors import NotFound, RecipeError
from atoll.debian.atoll_package import PACKAGES, find_system_beside, is_own, own_path
from atoll.debian.pin import Pin
from atoll.lock.own_packages import find_own, own_directory, own_names, read_own
from atoll.lock.requirements import format_requirements, package_requirements
from atoll.recipe.model import EmptyBase, ImageBase, Packages, RecipeBase
from tests.unit.lock.test_requirements import recipe_with

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from atoll.recipe.model import Recipe

FROM_IMAGE = ImageBase(reference="store:base")


def recipe_of(folder: Path, *install: str, **more: object) -> Recipe:
    return recipe_with(folder, packages=Packages(install=install), **more)


def write_deb(path: Path, name: str, version: str = "1") -> Path:
    """The smallest valid package."""
    control = f"Package: {name}\nVersion: {version}\nArchitecture: all\n".encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo("./control")
        member.size = len(control)
        tar.addfile(member, io.BytesIO(control))
    parts = {"debian-binary": b"2.0\n", "control.tar.gz": packed.getvalue()}
    content = b"!<arch>\n"
    for part, data in parts.items():
        content += f"{part:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
        content += data + b"\n" * (len(data) % 2)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("install", [(), ("atoll",), ("atoll-system",), ("vim", "atoll")])
def test_a_system_that_stands_alone_gets_both_whether_named_or_not(
    tmp_path: Path, install: tuple[str, ...]
) -> None:
    for base in (None, EmptyBase()):
        recipe = recipe_of(tmp_path, *install, **({"base": base} if base else {}))
        assert own_names(recipe, ()) == PACKAGES


@pytest.mark.parametrize("named", [(), ("vim",)])
def test_a_derived_system_keeps_those_of_its_base(tmp_path: Path, named: tuple[str, ...]) -> None:
    for base in (FROM_IMAGE, RecipeBase(path=tmp_path / "other", variant=None)):
        assert own_names(recipe_of(tmp_path, *named, base=base), ()) == ()
        assert own_names(recipe_of(tmp_path, *named, "atoll", base=base), ()) == PACKAGES


@pytest.mark.parametrize("word", ["atoll=1.2", "atoll/sid", "atoll-system=1.2"])
def test_a_version_or_suite_that_the_recipe_names_goes_first(tmp_path: Path, word: str) -> None:
    assert own_names(recipe_of(tmp_path, word), ()) == ()


def test_what_the_recipe_removes_or_has_as_a_file_does_not_come_by_itself(tmp_path: Path) -> None:
    assert own_names(recipe_of(tmp_path), ("atoll-system",)) == ()
    assert own_names(recipe_of(tmp_path), ("vendor-tool",)) == PACKAGES
    recipe = recipe_with(tmp_path, packages=Packages(remove=("atoll-system",)))
    assert own_names(recipe, ()) == ()
    pinned = recipe_with(tmp_path, packages=Packages(versions=(("atoll", "1.*"),)))
    assert own_names(pinned, ()) == ()


@pytest.mark.parametrize(
    ("tool", "system"),
    [("atoll.deb", "atoll-system.deb"), ("atoll_1_all.deb", "atoll-system_1_all.deb")],
)
def test_a_recipe_that_names_the_old_single_file_gets_the_other_from_beside_it(
    tmp_path: Path, tool: str, system: str
) -> None:
    (tmp_path / "build").mkdir()
    write_deb(tmp_path / "build" / tool, "atoll")
    recipe = recipe_with(tmp_path, packages=Packages(local=(f"build/{tool}",)))
    assert [deb.name for deb in package_requirements(recipe).local] == [f"build/{tool}"]
    beside = write_deb(tmp_path / "build" / system, "atoll-system")
    assert find_system_beside(tmp_path / "build" / tool) == beside
    requirements = package_requirements(recipe)
    assert [deb.name for deb in requirements.local] == [f"build/{tool}", f"build/{system}"]
    assert requirements.own == ()
    both = replace(recipe, packages=Packages(local=(f"build/{tool}", f"build/{system}")))
    assert package_requirements(both).local == requirements.local, "no file counts twice"


def test_a_lock_fits_for_every_atoll(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise each commit of Atoll would invalidate all locks."""
    recipe = recipe_of(tmp_path)
    requirements = package_requirements(recipe)
    lines = format_requirements(recipe, requirements)
    assert {"own atoll", "own atoll-system"} < set(lines)
    monkeypatch.setattr(own_module, "find_own_packages", packages_of("7"))
    local = read_own(PACKAGES, tmp_path)
    assert format_requirements(recipe, replace(requirements, local=local)) == lines


def packages_of(version: str) -> Callable[[Path], Mapping[str, Path]]:
    """The packages that an Atoll of that version would find."""

    def find(directory: Path) -> Mapping[str, Path]:
        directory.mkdir(parents=True, exist_ok=True)
        return {name: write_deb(directory / f"{name}.deb", name, version) for name in PACKAGES}

    return find


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the packages of the running Atoll, version 2."""
    monkeypatch.setattr(own_module, "find_own_packages", packages_of("2"))
    return tmp_path / "cache"


def pin_of(sha256: str, version: str) -> Pin:
    return Pin(
        name="atoll",
        architecture="all",
        version=version,
        size=1,
        sha256=sha256,
        archive="",
        path=own_path("atoll"),
    )


def test_a_build_takes_exactly_what_the_lock_pins(tmp_path: Path, here: Path) -> None:
    tool, system = read_own(PACKAGES, here)
    assert (tool.stanza.name, system.stanza.name) == PACKAGES
    assert all(is_own(deb.name) for deb in (tool, system))
    found = find_own(recipe_of(tmp_path), pin_of(tool.sha256, "2"), here)
    assert found == own_directory(here) / "atoll.deb"


def test_a_lock_of_another_atoll_is_refused_with_both_and_the_way_on(
    tmp_path: Path, here: Path
) -> None:
    with pytest.raises(RecipeError) as caught:
        find_own(recipe_of(tmp_path), pin_of("ab" * 32, "1.9"), here)
    message = str(caught.value)
    assert "atoll 1.9" in message
    assert "abababababab" in message
    assert "this Atoll has 2" in message
    assert "atoll.lock" in message
    assert caught.value.hint
    assert "atoll lock --update atoll atoll-system" in caught.value.hint


def test_nothing_is_looked_for_where_nothing_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(directory: Path) -> Mapping[str, Path]:
        raise NotFound(f"nothing in {directory}")

    monkeypatch.setattr(own_module, "find_own_packages", find)
    assert read_own((), tmp_path) == ()
    with pytest.raises(NotFound):
        read_own(PACKAGES, tmp_path)
