"""Words for images and recipes that miss: each is answered with what was probably meant."""

from __future__ import annotations

import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from atoll.base.report import NullReporter
from atoll.cli import install as install_verb
from atoll.cli.main import main
from atoll.cli.references import fetch_word
from atoll.store.layout import open_store
from atoll.store.refs import Ref, write_ref
from tests.fake_registry import Asked, Reply, fake_registry
from tests.machines import EPOCH, Maker
from tests.unit.recipe.test_parse import SMALLEST

if TYPE_CHECKING:
    from collections.abc import Iterator


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


def test_a_device_is_answered_with_the_two_commands_that_work(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["disk", "store:hello", "/dev/sdb"]) == 2
    err = capsys.readouterr().err
    assert "\n    atoll disk store:hello system.img\n    sudo dd if=system.img of=/dev/sd" in err
    assert max(map(len, err.splitlines())) <= 80
    assert built.exists()


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["/dev/sdb"], "atoll install store:hello --disk /dev/sdb"),
        (["mnt"], "atoll install store:hello --root mnt"),
        ([], "atoll install store:hello --disk /dev/sdX"),
    ],
)
def test_install_says_how_a_target_is_named(
    words: list[str], command: str, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["install", "store:hello", *words]) == 2
    assert command in capsys.readouterr().err
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
    image = fetch_word("oci:layout:hello", None, NullReporter())
    assert image.store.root == built / "other/atoll"
    assert image.store.image_path(image.tree).is_file()


@pytest.fixture
def words(built: Path) -> Iterator[dict[str, str]]:
    """One image by each word that there is for it; no store of this person's has it yet."""
    with tarfile.open(built / "hello.tar", "w") as tar:
        tar.add(built / "maker/layout", arcname=".")
    (built / "data/atoll").unlink()
    with fake_registry(built / "maker/layout") as registry:
        yield {
            "docker": registry.reference("hello"),
            "oci": "oci:layout:hello",
            "oci-archive": "oci-archive:hello.tar:hello",
            "directory": "maker/layout",
        }


@pytest.mark.parametrize("kind", ["docker", "oci", "oci-archive"])
def test_install_takes_an_image_from_anywhere(
    kind: str,
    built: Path,
    words: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(install_verb, "require_root", lambda _: None)
    assert main(["install", words[kind], "--root", "new", "--into-directory"]) == 0
    assert f"Fetching {words['docker']}" in capsys.readouterr().err or kind != "docker"
    origin = (built / "new/atoll/deployments/1/origin.toml").read_text()
    expected = words[kind].replace("oci:", f"oci:{built}/").replace("e:h", f"e:{built}/h")
    assert expected in origin
    assert main(["status", "--root", "new"]) == 0
    assert "hello 1" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["disk", "vm", "test", "pull"])
@pytest.mark.parametrize("kind", ["docker", "oci-archive"])
def test_every_verb_fetches_an_image_into_the_store(
    verb: str, kind: str, built: Path, words: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk is not made of it: no program for that is in the path."""
    monkeypatch.setenv("PATH", str(built / "bin"))
    main([verb, words[kind], *(["x.img", "--size", "1M"] if verb == "disk" else [])])
    store = open_store(built / "data/atoll")
    assert [each.name for each in store.images.iterdir()] == [
        each.name for each in open_store(built / "maker/store").images.iterdir()
    ]


@pytest.mark.parametrize("verb", ["disk", "vm", "pull"])
def test_nothing_is_kept_of_an_image_that_is_damaged_on_its_way(
    verb: str, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (built / "data/atoll").unlink()

    def damage(asked: Asked, reply: Reply) -> Reply:
        if asked.blob:
            reply.body = bytes(len(reply.body))
        return reply

    with fake_registry(built / "maker/layout") as registry:
        registry.bend = damage
        words = [verb, registry.reference("hello"), *(["x.img"] if verb == "disk" else [])]
        assert main(words) == 8
    assert "atoll: " in capsys.readouterr().err
    store = open_store(built / "data/atoll")
    assert not list(store.images.iterdir())
    assert not [path for path in store.objects.rglob("*") if path.is_file()]
    assert not (built / "x.img").exists()


@pytest.mark.parametrize(
    "words", [["disk", "{}", "x.img"], ["vm", "{}"], ["pull", "{}"], ["inspect", "{}"]]
)
def test_a_registry_that_cannot_be_reached_leaves_no_store(
    words: list[str], built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (built / "data/atoll").unlink()
    with fake_registry(built / "maker/layout") as registry:
        gone = registry.reference("nosuch")
        assert main([word.format(gone) for word in words]) == 7
    assert "nosuch" in capsys.readouterr().err
    assert not (built / "data/atoll").exists()


@pytest.mark.parametrize("verb", ["disk", "install", "vm", "inspect", "pull"])
@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("recipes/reef/atoll.lock", "is a lock, not an image"),
        ("hello.tar", "did you mean: oci-archive:hello.tar"),
    ],
)
def test_what_is_no_image_is_called_what_it_is(
    verb: str, word: str, said: str, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (built / "recipes/reef/atoll.lock").write_text("")
    (built / "hello.tar").write_text("")
    more = {"disk": ["x.img"], "install": ["--root", "x", "--into-directory"]}.get(verb, [])
    assert main([verb, word, *more]) == 2
    assert said in capsys.readouterr().err


def test_a_wrong_word_to_follow_is_told_before_anything_is_made(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["disk", "store:hello", "x.img", "--follow", "recipes/reef"]) == 2
    assert "it first: atoll build recipes/reef" in capsys.readouterr().err
    assert main(["rebase", "3", "--root", str(built)]) in (2, 7)


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


def test_the_command_that_comes_next_works_as_it_is_printed(
    words: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pull", words["oci"], "--store", "other store"]) == 0
    assert "next: atoll inspect store:hello --store 'other store'" in capsys.readouterr().err
    assert main(["inspect", "store:hello", "--store", "other store"]) == 0


def test_a_deployment_is_no_image_to_pull(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pull", "booted"]) == 2
    assert "atoll rollback" not in capsys.readouterr().err
    assert main(["pull", "3"]) == 2
    assert "atoll rollback 3" in capsys.readouterr().err
