"""``atoll lock`` as a person calls it: what it prints, and how it ends."""

from __future__ import annotations

import hashlib
import json
import shutil
import tomllib
from typing import TYPE_CHECKING

import pytest

from atoll.base.ids import TreeId
from atoll.builder.use_lock import is_current
from atoll.cli.main import main
from atoll.debian.sources import read_architecture
from atoll.recipe.language.parse import read_recipe
from tests.archive import Archive, make_key, serve
from tests.programs import standin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("gpg", "apt-get", "dpkg-deb"))
    or read_architecture() != "amd64",
    reason="needs gpg, apt and dpkg-deb of amd64",
)
RECIPE = """
schema = 1
from = "debian:trixie"
image = { name = "a", version = "1" }
debian = { mirror = "%s", security = false, updates = false }

[packages]
install = ["editor", "./atoll.deb"]

[variant.more.packages]
install = ["spell"]
"""


@pytest.fixture
def archive(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bare_recipes: None,  # noqa: ARG001
) -> Iterator[Archive]:
    key = make_key(tmp_path, "k")
    (tmp_path / "believed").mkdir()
    shutil.copy(key.public, tmp_path / "believed")
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::parts "/dev/null";\nDir::Etc::trustedparts "{tmp_path}/believed";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    found = Archive(root=tmp_path / "archive", key=key)
    for name in ("dpkg", "apt", "editor", "spell"):
        found.add("trixie", name, **({"essential": "yes"} if name == "dpkg" else {}))
    found.publish()
    with serve(found.root) as url:
        (tmp_path / "atoll.toml").write_text(RECIPE % url)
        standin.write_atoll(tmp_path)
        yield found
    key.end()


@pytest.fixture
def lock(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*words: str) -> tuple[int, str, str]:
        store = ("--store", str(tmp_path / "store"))
        code = main(["lock", str(tmp_path), *words, *store])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_a_lock_is_made_once_and_moved_when_asked(
    archive: Archive, lock: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    code, said, _ = lock()
    assert code == 0
    assert said.splitlines() == [said.rstrip()] and "atoll.lock: new; 4 packages, " in said
    code, said, told = lock("--json")
    assert code == 77 and json.loads(said)["changed"] == []
    assert "atoll.lock is up to date" in told
    archive.add("trixie", "editor", "2")
    archive.publish()
    assert lock("--audit")[:2] == (0, "update    editor:all 1 → 2\n")
    rows = json.loads(lock("--audit", "--json")[1])["outdated"]
    assert rows == [
        {
            "name": "editor",
            "architecture": "all",
            "version": "1",
            "newer": "2",
            "archive": "trixie",
            "security": False,
        }
    ]
    code, said, _ = lock("--json", "--update")
    moved = json.loads(said)
    assert (code, moved["lock"], moved["packages"]) == (0, str(tmp_path / "atoll.lock"), 4)
    assert [(one["name"], one["from"], one["to"]) for one in moved["changed"]] == [
        ("editor", "1", "2")
    ]
    assert lock("--audit")[0] == 77


def test_a_lock_follows_the_files_of_its_recipe(
    archive: Archive, lock: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    assert archive.suites
    recipe, path = tmp_path / "atoll.toml", tmp_path / "atoll.lock"
    recipe.write_text(recipe.read_text() + '[[file]]\npath = "/etc/motd"\nsource = "motd"\n')
    (tmp_path / "motd").write_text("one\n")
    assert lock()[0] == 0
    locked = tomllib.loads(path.read_text())
    assert locked["inputs"] == {name: digest(tmp_path / name) for name in ("atoll.toml", "motd")}
    path.write_text(path.read_text().replace("schema = 1\n", f'schema = 1\ntree = "{"a" * 64}"\n'))
    assert lock()[0] == 77
    for words in ((), ("--update",), ("--update", "editor")):
        (tmp_path / "motd").write_text(f"{words}\n")
        code, said, _ = lock("--json", *words)
        assert (code, json.loads(said)["changed"]) == (0, [])
        now = tomllib.loads(path.read_text())
        assert now.pop("inputs")["motd"] == digest(tmp_path / "motd")
        assert now == {key: value for key, value in locked.items() if key != "inputs"}
    (tmp_path / "motd").unlink()
    before = path.read_bytes()
    code, _, told = lock()
    assert code == 2 and "motd" in told
    assert path.read_bytes() == before


def test_a_tree_is_known_to_be_of_an_older_recipe(
    archive: Archive, lock: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    assert archive.suites
    (tmp_path / "motd").write_text("one\n")
    path, tree = tmp_path / "atoll.lock", TreeId("a" * 64)
    text = (tmp_path / "atoll.toml").read_text()
    text += '[[file]]\npath = "/etc/motd"\nsource = "motd"\n'

    def said(recipe: str = text, motd: str = "one\n") -> bool:
        (tmp_path / "atoll.toml").write_text(recipe)
        (tmp_path / "motd").write_text(motd)
        return is_current(read_recipe(tmp_path), tree)

    assert not said()
    lock()
    assert not said()
    path.write_text(path.read_text().replace("schema = 1\n", f'schema = 1\ntree = "{tree}"\n'))
    assert said()
    assert not said(motd="two\n")
    assert not said(text.replace('version = "1"', 'version = "2"'))
    assert not said(text.replace('"editor"', '"editor", "spell"'))
    assert said()
    path.write_text(path.read_text().replace(tree, "b" * 64))
    assert not said()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_variant_has_a_lock_of_its_own(
    archive: Archive, lock: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    assert archive.suites
    code, _, told = lock("--variant", "more")
    assert code == 0, told
    text = (tmp_path / "atoll-more.lock").read_text()
    assert 'variant = "more"\n' in text and 'name = "spell"' in text
    assert not (tmp_path / "atoll.lock").exists()


def test_what_cannot_be_is_told(
    archive: Archive, lock: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    assert archive.suites
    assert lock("--audit")[0] == 7
    assert lock("--audit", "--update")[0] == 2
    lock()
    code, _, told = lock("--update", "nosuch")
    assert (code, "not in the lock: nosuch" in told) == (10, True)
    path = tmp_path / "atoll.lock"
    path.write_text(path.read_text().replace("size = ", "bulk = ", 1))
    code, _, told = lock()
    assert code == 2 and "atoll.lock:" in told and "packages[0].bulk: unknown key" in told
