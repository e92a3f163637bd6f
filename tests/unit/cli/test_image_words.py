"""Words for images and recipes that miss: each is answered with what was probably meant."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from atoll.base.report import NullReporter
from atoll.cli import install as install_verb
from atoll.cli.main import main
from atoll.cli.references import take_image
from atoll.store.refs import Ref, write_ref
from tests.machines import EPOCH, Maker
from tests.unit.recipe.test_parse import SMALLEST


@pytest.fixture
def built(tmp_path: Path, virtual: None, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: ARG001
    """Here are a recipe ``recipes/reef``, a layout ``layout``, and a store that has ``hello``."""
    monkeypatch.chdir(tmp_path)
    maker = Maker(tmp_path / "maker")
    tree = maker.publish("1").tree
    write_ref(maker.store, "hello", Ref(tree=tree, name="hello", version="1", created=EPOCH))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/atoll").symlink_to(maker.store.root)
    (tmp_path / "recipes/reef").mkdir(parents=True)
    (tmp_path / "recipes/reef/atoll.toml").write_text(SMALLEST)
    (tmp_path / "layout").symlink_to(maker.folder / "layout")
    return tmp_path


@pytest.mark.parametrize("verb", ["disk", "install", "vm", "test", "inspect", "sbom"])
@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("hello", "did you mean: store:hello"),
        ("helo", "did you mean: store:hello"),
        ("store:helo", "did you mean: store:hello"),
        ("nothing", "the store has store:hello"),
        ("oci:nosuch:1", "there is no OCI layout in nosuch"),
        ("oci:layuot", "did you mean: oci:layout"),
        ("recipes/reff", "did you mean: recipes/reef"),
    ],
)
def test_a_word_that_names_no_image_is_answered_with_what_was_meant(
    verb: str, word: str, told: str, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {"disk": ["x.img"], "install": ["--root", "x", "--into-directory"]}.get(verb, [])
    code = main([verb, word, *more])
    if verb in ("inspect", "sbom") and word == "hello":
        assert code != 2  # These take names of the store as they are.
        return
    assert code in (2, 7)
    assert told in capsys.readouterr().err
    assert not (built / "x").exists()


@pytest.mark.usefixtures("virtual")
@pytest.mark.parametrize("verb", ["disk", "vm"])
def test_a_layout_that_is_none_is_said_before_any_store(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert main([verb, "oci:nosuch:1", *(["x.img"] if verb == "disk" else [])]) == 7
    assert "there is no OCI layout in nosuch" in capsys.readouterr().err
    assert not (tmp_path / "atoll").exists()


@pytest.mark.parametrize("verb", ["build", "check", "lock"])
def test_no_recipe_here_says_how_to_begin_one(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([verb]) == 7
    assert "atoll new DIR" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["build", "check", "lock"])
def test_a_mistyped_path_of_a_recipe_gets_the_near_one(
    verb: str, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for word in ("recipse/reef", "recipes/ref", "recipes/reef/atol.toml"):
        assert main([verb, word]) == 7
        assert "did you mean: recipes/reef" in capsys.readouterr().err
    assert main([verb, "recipes"]) == 7
    assert "name one: recipes/reef" in capsys.readouterr().err
    assert built.exists()


@pytest.mark.parametrize("verb", ["vm", "test"])
def test_without_words_and_recipe_images_are_named(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([verb]) == 7
    err = capsys.readouterr().err
    assert "store:NAME" in err and "atoll new DIR" in err


@pytest.mark.parametrize(
    "verb", ["status", "plan", "upgrade", "rollback", "history", "cancel", "gc", "health", "etc"]
)
def test_a_machine_verb_on_a_plain_debian_says_that_it_is_one(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb]) == 7
    err = capsys.readouterr().err
    assert "does not run an Atoll system" in err
    assert "atoll new DIR" in err


def test_an_empty_store_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Maker(tmp_path)
    (store,) = (path.parent for path in tmp_path.rglob("store-format"))
    assert main(["store", "list", "--store", str(store)]) == 0
    assert "no image in the store" in capsys.readouterr().err


@pytest.mark.usefixtures("built")
def test_a_disk_image_is_never_replaced_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    # Not below the test's own directory: in /dev/shm a path is not one of a file.
    with TemporaryDirectory() as folder:
        mine = Path(folder, "mine.img")
        mine.write_text("mine")
        assert main(["disk", "store:hello", str(mine)]) == 11
        assert "--overwrite" in capsys.readouterr().err
        assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    "words",
    [
        ["disk", "store:hello", "/dev/sdb"],
        ["install", "store:hello", "/dev/sdb"],
        ["install", "store:hello"],
    ],
)
def test_a_device_is_answered_with_the_two_commands_that_work(
    words: list[str], built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "\n    atoll disk store:hello system.img\n    sudo dd if=system.img of=/dev/sd" in err
    assert max(map(len, err.splitlines())) <= 80
    assert built.exists()


def test_install_fills_no_directory_where_nothing_is_mounted(
    built: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install_verb, "require_root", lambda _: None)
    (built / "mnt").mkdir()
    assert main(["install", "store:hello", "--root", "mnt"]) == 11
    assert "not a mount point" in capsys.readouterr().err
    assert list((built / "mnt").iterdir()) == []
    (built / "mnt/mine").write_text("mine")
    assert main(["install", "store:hello", "--root", "mnt", "--into-directory"]) == 11
    assert "mine" in capsys.readouterr().err
    assert main(["status", "--root", "mnt"]) == 7
    assert "atoll install" not in capsys.readouterr().err


def test_a_layout_needs_no_store_before(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After ``sudo atoll build --output oci:DIR`` a person without a store makes a disk of it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(built / "other"))
    store, tree = take_image("oci:layout:hello", None, NullReporter())
    assert store.root == built / "other/atoll"
    assert store.image_path(tree).is_file()


def test_a_machine_in_a_new_directory_by_the_option(
    built: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install_verb, "require_root", lambda _: None)
    words = ["install", "oci:layout:hello", "--root", "new", "--into-directory"]
    assert main(words) == 0
    assert main(["status", "--root", "new"]) == 0
    assert "hello 1" in capsys.readouterr().out
    assert main(words) == 11
    assert (built / "new/atoll").is_dir()
