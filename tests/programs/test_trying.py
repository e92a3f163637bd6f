"""``atoll vm`` of a recipe: whether the image that runs is what the recipe gives now."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from atoll.builder.use_lock import with_inputs
from atoll.cli.main import main
from atoll.lock.model import Lock
from atoll.lock.path import lock_path
from atoll.lock.serialize import write_lock
from atoll.recipe.language.parse import read_recipe
from atoll.store.refs import Ref, write_ref
from atoll.vm import qemu
from tests.machines import EPOCH, Maker

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = """
schema = 1
from = "debian:trixie"
image = { name = "hello", version = "1" }
packages = { install = ["bash"] }
"""


@pytest.fixture
def off_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A QEMU whose machine is switched off as soon as it starts, and firmware for it."""
    (tmp_path / qemu.PROGRAM).write_text("#!/bin/sh\n")
    (tmp_path / qemu.PROGRAM).chmod(0o755)
    for name in ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"):
        (tmp_path / name).write_bytes(b"uefi")
    monkeypatch.setattr(qemu, "FIRMWARE", (tmp_path,))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))


@pytest.mark.usefixtures("off_at_once")
def test_an_image_of_an_older_recipe_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maker = Maker(tmp_path / "maker")
    tree = maker.publish("1").tree
    write_ref(maker.store, "hello", Ref(tree=tree, name="hello", version="1", created=EPOCH))
    path = tmp_path / "atoll.toml"
    path.write_text(RECIPE)
    recipe = read_recipe(path)
    lock = with_inputs(Lock(architecture="amd64", epoch=EPOCH, wishes="0" * 64), recipe)
    write_lock(lock_path(recipe), replace(lock, tree=tree))

    def said(text: str) -> str:
        path.write_text(text)
        assert main(["vm", str(path), "--store", str(maker.store.root)]) == 0
        return capsys.readouterr().err

    notice = f"store:hello is older than {path}; to update it: atoll build {path}"
    assert notice not in said(RECIPE)
    assert notice in said(RECIPE.replace('"bash"', '"zsh"'))
