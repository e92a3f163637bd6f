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


HARDWARE = ("asus-laptop", "surface", "desktop")
MICROCODE = {"intel-microcode", "amd64-microcode"}
SWAP = "systemd-zram-generator"
SMALL = {"hardened", "hello", "live"}
"""Examples without swap."""


@pytest.mark.parametrize("name", HARDWARE)
def test_an_example_for_laptops_has_firmware_and_microcode(examples: Path, name: str) -> None:
    recipe = read_recipe(examples / name)
    assert "non-free-firmware" in (recipe.debian.components or ())
    firmware = {"firmware-amd-graphics", "firmware-intel-graphics", "firmware-iwlwifi"}
    assert {*MICROCODE, *firmware, "firmware-sof-signed"} <= set(recipe.packages.install)


def test_the_keyboard_of_a_surface_is_in_the_initrd(examples: Path) -> None:
    recipe = read_recipe(examples / "surface")
    assert {"surface_aggregator", "surface_hid"} <= set(recipe.kernel.initrd_modules)


def test_examples_have_compressed_swap_unless_they_are_small(examples: Path) -> None:
    names = {path.parent.name for path in examples.glob("*/atoll.toml")}
    without = {name for name in names if SWAP not in read_recipe(examples / name).packages.install}
    assert without == SMALL


def test_no_example_waits_for_a_network_at_its_start(examples: Path) -> None:
    for path in examples.glob("*/atoll.toml"):
        units = read_recipe(path.parent).units
        if "systemd-networkd.service" in units.enable:
            assert "systemd-networkd-wait-online.service" in units.disable, path.parent.name


def test_every_file_of_hardware_is_a_whole_include(examples: Path, tmp_path: Path) -> None:
    """Each can be included alone: it names the component that its packages are in."""
    files = sorted((examples / "hardware").glob("*.toml"))
    assert len(files) > 5
    for file in files:
        recipe = tmp_path / "examples/alone/atoll.toml"
        recipe.parent.mkdir(exist_ok=True)
        recipe.write_text(
            f'schema = 1\nfrom = "debian:trixie"\ninclude = ["../hardware/{file.name}"]\n'
            '[image]\nname = "a"\nversion = "1"\n'
        )
        assert "non-free-firmware" in (read_recipe(recipe.parent).debian.components or ())
