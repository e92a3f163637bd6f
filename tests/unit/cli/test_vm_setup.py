"""Which image ``atoll vm`` and ``atoll test`` mean, before any machine starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atoll.cli.main import VERBS, main, verb_parser
from atoll.cli.run.vm import DISPLAYS
from atoll.store.layout import open_store
from atoll.vm import qemu
from tests.unit.recipe.test_parse import SMALLEST

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path, virtual: None) -> Path:  # noqa: ARG001
    """An empty one, on a machine that has QEMU and its firmware."""
    open_store(tmp_path / "store", create=True)
    return tmp_path / "store"


@pytest.mark.parametrize("verb", ["vm", "test"])
def test_a_recipe_that_was_not_built(
    verb: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = store.parent / "recipe"
    recipe.mkdir()
    (recipe / "atoll.toml").write_text(SMALLEST)
    for place in (store, store.parent / "no-store-yet"):
        assert main([verb, str(recipe), "--store", str(place)]) == 7
        told = f"build it first: atoll build {recipe} --store {place}"
        assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["store:no"], 7, "no"),
        (["store:no", "--variant", "kde"], 2, "--variant is for recipes"),
        (["store:no", "--timeout", "0"], 2, "--timeout must be a number"),
        (["store:no", "--script", "no.sh"], 7, "no script no.sh"),
    ],
)
def test_what_cannot_be(
    words: list[str], code: int, told: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["test", *words, "--store", str(store)]) == code
    assert told in capsys.readouterr().err


@pytest.mark.usefixtures("virtual")
def test_a_disk_image_is_started_as_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stand-in for QEMU writes to its disk, as a machine does."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    program = tmp_path / "bin" / qemu.PROGRAM
    program.write_text(
        "#!/bin/sh\n"
        "for word; do case $word in *file.filename=*) path=${word##*file.filename=};; esac; done\n"
        'echo "$@" > words; echo written > "$path"\n'
    )
    monkeypatch.chdir(tmp_path)
    image = tmp_path / "live.img"
    image.write_bytes(bytes(512) + b"EFI PART" + bytes(2000))
    before = image.read_bytes()
    assert main(["vm", "--live", "live.img"]) == 0, capsys.readouterr().err
    assert image.read_bytes() == before
    assert "usb-storage" in (tmp_path / "words").read_text()
    assert list(tmp_path.glob("atoll-disk-*")) == []
    (tmp_path / "other.img").write_bytes(b"no disk")
    assert main(["vm", "other.img"]) == 2


def test_the_firmware_is_not_here(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(qemu, "FIRMWARE", ())
    assert main(["vm", "store:x", "--store", str(store)]) == 4
    assert "ovmf" in capsys.readouterr().err


def test_every_display_that_can_be_chosen_has_its_options() -> None:
    parser = verb_parser(next(verb for verb in VERBS if verb.name == "vm"))
    (display,) = (each for each in parser._actions if each.dest == "display")
    assert display.choices is not None
    assert set(display.choices) == set(DISPLAYS)
