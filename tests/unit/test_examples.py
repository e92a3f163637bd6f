"""What the examples say of themselves agrees; whether they boot is tests/vm/test_examples.py."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from atoll.recipe.language.parse import read_recipe

THEIRS = Path(__file__).parents[2] / "examples"
DESKTOPS = {None: "lightdm", "gnome": "gdm3", "kde": "sddm"}


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A copy, so that nothing is written beside the originals."""
    shutil.copytree(THEIRS, tmp_path / "examples")
    return tmp_path / "examples"


@pytest.mark.parametrize("variant", DESKTOPS)
def test_a_desktop_has_one_greeter(examples: Path, variant: str | None) -> None:
    recipe = read_recipe(examples / "desktop", variant)
    assert set(recipe.variants) == {"gnome", "kde"}
    assert set(DESKTOPS.values()) & set(recipe.packages.install) == {DESKTOPS[variant]}
    assert ("xfce4" in recipe.packages.remove) == (variant is not None)
    assert "firefox-esr" in recipe.packages.install


def test_what_the_hardened_kernel_does_not_load_cannot_be_asked_for_either(
    examples: Path,
) -> None:
    recipe = read_recipe(examples / "hardened")
    lines = (examples / "hardened/files/modprobe.conf").read_text().splitlines()
    assert lines[1:] == [f"install {name} /bin/false" for name in recipe.kernel.blacklist]
    named = ",".join(recipe.kernel.blacklist).replace("-", "_")
    assert f"module_blacklist={named}" in recipe.kernel.args


def test_every_example_is_in_the_list_and_says_what_it_is(examples: Path) -> None:
    listed = (examples / "README.md").read_text()
    recipes = sorted(examples.glob("*/atoll.toml"))
    assert recipes
    for recipe in recipes:
        assert f"({recipe.parent.name}/atoll.toml)" in listed
        assert recipe.read_text().startswith("# ")


def test_files_of_examples_are_used(examples: Path) -> None:
    folders = sorted(examples.glob("*/files"))
    assert folders
    for folder in folders:
        named = {Path(str(file.source)).name for file in read_recipe(folder.parent).files}
        assert {file.name for file in folder.iterdir()} <= named
