"""The machine file as a recipe, and what an upgrade reports of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import Damaged, RecipeError
from atoll.base.ids import TreeId
from atoll.layering.change_machine import list_enabled_units
from atoll.layering.search import FoundPackage, sort_found
from atoll.machine.deployment import Origin, format_origin, parse_origin
from atoll.machine.deployments.layer_report import (
    DroppedLayer,
    LayerReport,
    clear_layer_report,
    format_layer_report,
    parse_layer_report,
    update_login_notice,
    write_layer_report,
)
from atoll.machine.machine_file import parse_machine_file
from atoll.recipe.language.parse import parse_machine_recipe
from atoll.recipe.model import ImageBase
from tests.unit.machine.small_image import FACTS, files_of, make_store

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = st.text(max_size=20)


def test_a_machine_file_needs_neither_base_nor_name() -> None:
    found = parse_machine_recipe(
        'schema = 1\n[packages]\ninstall = ["htop"]\n', file="m", base="docker://a.example/b:c"
    )
    assert found.recipe.base == ImageBase(reference="docker://a.example/b:c")
    assert (found.recipe.image.name, found.recipe.image.version) == ("", "")
    assert found.makes_tree


def test_it_may_say_them_to_become_an_image() -> None:
    text = 'schema = 1\nfrom = "docker://x.example/y:z"\n[image]\nname = "mine"\nversion = "3"\n'
    found = parse_machine_recipe(text, file="m", base="docker://a.example/b:c")
    assert found.recipe.base == ImageBase(reference="docker://x.example/y:z")
    assert (found.recipe.image.name, found.recipe.image.version) == ("mine", "3")


@pytest.mark.parametrize(
    ("text", "makes"),
    [
        ("", False),
        ("[keep]\ndeployments = 4\n", False),
        ('[etc]\n"motd" = "local"\n', False),
        ('[update]\nauto = "stage"\n', False),
        ("[packages]\n", False),
        ('[units]\nmask = ["x.service"]\n', True),
        ('[kernel]\nargs = ["quiet"]\n', True),
        ('[[file]]\npath = "/etc/x"\ntext = "x"\n', True),
    ],
)
def test_what_makes_a_tree_of_its_own(text: str, *, makes: bool) -> None:
    assert parse_machine_recipe(f"schema = 1\n{text}", file="m").makes_tree is makes
    assert parse_machine_file(f"schema = 1\n{text}".encode(), file="m").makes_tree is makes


def test_update_is_the_owners_only_where_the_file_has_it() -> None:
    assert parse_machine_file(b"schema = 1\n", file="m").update is None
    found = parse_machine_file(b'schema = 1\n[update]\nlayers = "drop"\n', file="m").update
    assert found is not None and found.layers == "drop"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[variant.x.packages]\ninstall = ['a1']\n", "variants"),
        ("[packages]\ninstal = ['a1']\n", "machine.toml:3: packages.instal: unknown key"),
        ("include = ['./other.toml']\n", "cannot be read"),
    ],
)
def test_errors_name_line_and_key(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parse_machine_recipe(f"schema = 1\n{text}", file="machine.toml")


@given(image=TEXTS, base=st.none() | st.just(TreeId("ab" * 32)))
def test_an_origin_is_read_as_written(image: str, base: TreeId | None) -> None:
    origin = Origin(image=image, base=base)
    if image.isprintable():
        assert parse_origin(format_origin(origin), where="x") == origin


@given(
    image=TEXTS,
    held=st.booleans(),
    layers=st.lists(st.builds(DroppedLayer, package=TEXTS, reason=TEXTS), max_size=3),
)
def test_a_report_is_read_as_written(image: str, held: bool, layers: list[DroppedLayer]) -> None:
    report = LayerReport(image=image, held=held, layers=tuple(layers))
    assert parse_layer_report(format_layer_report(report), where="x") == report


@given(data=st.binary(max_size=60))
def test_a_damaged_report_is_said(data: bytes) -> None:
    with pytest.raises(Damaged, match="x"):
        parse_layer_report(data, where="x")


def test_logins_are_told_which_packages_no_longer_fit_and_why(tmp_path: Path) -> None:
    notice = tmp_path / "run/motd.d/55-atoll-layers"

    def told(*, held: bool) -> list[str]:
        layers = (DroppedLayer(package="htop", reason="needs libtinfo\x1b[2J"),)
        write_layer_report(tmp_path, LayerReport(image="hello 3", held=held, layers=layers))
        update_login_notice(tmp_path, run=tmp_path / "run")
        return notice.read_text().splitlines()

    update_login_notice(tmp_path, run=tmp_path / "run")
    assert not notice.exists()
    held = told(held=True)
    assert held[0] == "Atoll: UPGRADES ARE HELD: the machine file does not fit hello 3"
    assert held[1].startswith("  htop: needs libtinfo") and "\x1b" not in held[1]
    assert "sudo atoll edit" in held[2]
    (dropped,) = told(held=False)
    assert dropped.startswith("Atoll: left out at the last upgrade: htop: needs libtinfo")
    (tmp_path / "layers.json").write_text("{")
    update_login_notice(tmp_path, run=tmp_path / "run")
    assert "layers.json" in notice.read_text()
    clear_layer_report(tmp_path)
    update_login_notice(tmp_path, run=tmp_path / "run")
    assert not notice.exists()


def test_the_name_that_is_asked_for_comes_first() -> None:
    rows = [
        FoundPackage(name=name, version="1", suite="trixie", description="")
        for name in ("a-viewer", "vim-tiny", "vim", "neovim")
    ]
    assert [each.name for each in sort_found(rows, ["vim"])] == [
        "vim",
        "neovim",
        "vim-tiny",
        "a-viewer",
    ]


def test_units_that_a_tree_enables(tmp_path: Path) -> None:
    files = files_of(FACTS) | {
        "etc/systemd/system/multi-user.target.wants/reef.service": b"x",
        "etc/systemd/system/sockets.target.requires/reef.socket": b"x",
        "etc/systemd/system/other.service.d/drop-in.conf": b"x",
    }
    store, tree = make_store(tmp_path / "store", files)
    assert list_enabled_units(store, tree) == {"reef.service", "reef.socket"}
    assert list_enabled_units(store, TreeId("ab" * 32)) == frozenset()
