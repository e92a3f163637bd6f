"""The recipe and lock that a tree carries."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from atoll.builder.make_tree import write_records
from atoll.debian.dpkg_database import Package
from atoll.lock.model import Lock
from atoll.lock.serialize import parse_lock
from atoll.recipe.language.parse import read_recipe

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = """
schema = 1
from = "debian:trixie"
include = ["../common.toml"]

[image]
name = "reef"
version = "1"
"""
COMMON = """
schema = 1

[packages]
install = ["systemd-sysv"]
"""
LOCK = Lock(architecture="amd64", epoch=1, wishes="0" * 64)


def test_recipe_lock_and_packages_are_in_the_tree(tmp_path: Path) -> None:
    folder, records = tmp_path / "reef", tmp_path / "root/usr/lib/atoll"
    folder.mkdir()
    records.mkdir(parents=True)
    (folder / "atoll.toml").write_text(RECIPE)
    (tmp_path / "common.toml").write_text(COMMON)
    recipe = read_recipe(folder)
    package = Package(name="dash", version="1", architecture="amd64")
    write_records(tmp_path / "root", recipe, LOCK, (package,))
    found = {
        str(path.relative_to(records)): path.read_text()
        for path in records.rglob("*")
        if path.is_file()
    }
    assert found.pop("recipe.toml") == RECIPE
    assert found.pop("recipe.d/1-common.toml") == COMMON
    assert parse_lock(found.pop("lock.toml"), file="lock.toml") == replace(LOCK, tree=None)
    assert found == {"packages.json": '[\n ["dash", "1", "amd64"]\n]\n'}
