"""Descriptions of trees, recipes and locks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Damaged
from atoll.base.ids import TreeId
from atoll.debian.pin import Pin, PinnedArchive
from atoll.inspect.describe import describe_lock, describe_recipe, describe_tree
from atoll.inspect.diff import compare_systems
from atoll.inspect.tree_source import open_tree, opened_image
from atoll.lock.model import Lock
from atoll.oci.reference import parse_reference
from atoll.oci.system_label import SystemLabel
from atoll.recipe.language.parse import parse_recipe
from atoll.recipe.model import Group, HealthCheck, LocalReference, Repository, Script
from atoll.store.layout import open_store
from tests import images
from tests.systems import RECIPE, files_of, keep, publish

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.inspect.diff import Description
    from atoll.store.layout import Store

LOCK = Lock(
    architecture="amd64",
    epoch=1,
    wishes="ab" * 32,
    archives=(
        PinnedArchive(
            name="main",
            uri="https://deb.example.org",
            suite="trixie",
            components=("main",),
            release="cd" * 32,
        ),
    ),
    packages=(
        Pin(
            name="bash",
            architecture="amd64",
            version="5.2-1",
            size=10,
            sha256="11" * 32,
            archive="main",
            path="pool/b.deb",
        ),
        Pin(
            name="libc6",
            architecture="i386",
            version="2.41-1",
            size=20,
            sha256="22" * 32,
            archive="main",
            path="pool/c.deb",
        ),
    ),
    inputs=(("./a", "ff" * 32),),
    users=(("ann", 1000),),
    groups=(("ann", 1000),),
    tools=(("zstd", "1.5.7"),),
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store", create=True)


def describe(store: Store, tree: TreeId) -> Description:
    return describe_tree(open_tree(store, tree, "one"))


def test_a_tree(store: Store) -> None:
    found = describe(store, keep(store, files_of(packages=(("bash", "5.2-1", 10),))))
    assert found.facets == {
        "privileged": {"/usr/bin/su": "setuid 4755 0:0"},
        "packages": {"bash": "5.2-1"},
        "kernel": {"version": "6.12-test"},
        "arguments": {"quiet": "quiet"},
        "units": {"ssh.service": "enabled"},
        "users": {
            "root": "uid=0 gid=0 home=/root shell=/bin/bash password=locked",
            "ann": "uid=1000 gid=1000 home=/home/ann shell=/bin/sh password=set",
        },
        "groups": {"root": "gid=0 members=", "sudo": "gid=27 members=ann"},
        "settings": {
            "name": "small",
            "version": "1",
            "suite": "trixie",
            "architecture": "amd64",
        },
    }
    assert (found.sizes, found.unknown) == ({"bash": 10240}, {})


def test_what_a_derived_tree_says_of_its_base(store: Store) -> None:
    said = {"name": "n", "base": {"name": "b", "version": "2"}, "architectures": ["i386", "arm64"]}
    found = describe(store, keep(store, {"usr/lib/atoll/image.json": json.dumps(said).encode()}))
    assert found.facets["settings"] == {"name": "n", "base": "b 2", "architectures": "i386 arm64"}


def test_a_tree_that_says_nothing(store: Store) -> None:
    found = describe(store, keep(store, {"usr/bin/x": b"x"}))
    assert found.facets == {"privileged": {}, "units": {}}
    assert found.unknown == {
        "packages": "it has no list of packages",
        "kernel": "it has no /usr/lib/atoll/image.json",
        "arguments": "it has no /usr/lib/atoll/image.json",
        "users": "it has no /etc/passwd",
        "groups": "it has no /etc/group",
        "settings": "it has no /usr/lib/atoll/image.json",
    }


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("usr/lib/atoll/packages.json", b"[[1, 2]]"),
        ("usr/lib/atoll/packages.json", b"5"),
        ("usr/lib/atoll/packages.json", b"[" * 100_000),
        ("usr/lib/atoll/image.json", b"[]"),
        ("usr/lib/atoll/image.json", b"{"),
    ],
)
def test_records_that_cannot_be_read(store: Store, path: str, content: bytes) -> None:
    tree = keep(store, files_of() | {path: content})
    with pytest.raises(Damaged, match=path):
        describe(store, tree)


def test_an_image_that_is_not_here_is_seen_like_one_that_is(store: Store, tmp_path: Path) -> None:
    files = files_of(packages=(("bash", "5.2-1", 10), ("nano", "8-1", 30)))
    tree = keep(store, files)
    word = publish(store, tree, tmp_path / "oci")
    empty = open_store(tmp_path / "empty", create=True)
    with opened_image(parse_reference(word), empty) as opened:
        there = describe_tree(opened)
    here = describe(store, tree)
    assert not any(empty.images.iterdir())
    assert there.facets == here.facets
    assert there.sizes == here.sizes
    found = compare_systems(here, there)
    assert found.is_equal and found.files == () and not found.unknown


def test_an_image_without_contents_is_what_it_says_of_itself(tmp_path: Path) -> None:
    made = images.publish(tmp_path, {"/usr/bin/x": b"x" * 100}, contents=False)
    empty = open_store(tmp_path / "empty", create=True)
    with opened_image(made.layout, empty) as opened:
        facts = SystemLabel(kernel="6.1", esp=1, packages={"bash": "5"})
        record = opened.published.record if opened.published else None
        assert record is not None and opened.published is not None
        config = replace(record.config, system=facts)
        published = replace(opened.published, record=replace(record, config=config))
        bare = describe_tree(opened)
        found = describe_tree(replace(opened, published=published))
    assert bare.facets == {}
    assert found.facets == {"packages": {"bash": "5"}, "kernel": {"version": "6.1"}}
    assert "pull it" in found.unknown["files"]
    assert set(found.unknown) == {
        "privileged",
        "arguments",
        "units",
        "users",
        "groups",
        "settings",
        "files",
    }


def test_a_recipe(tmp_path: Path) -> None:
    text = (
        RECIPE
        + 'remove = ["nano"]\n[kernel]\nargs = ["quiet"]\n[units]\nmask = ["x.service"]\n'
        + '[system]\nhostname = "h"\n[[file]]\npath = "/etc/a"\ntext = "hello"\n'
        + '[[file]]\npath = "/etc/b"\nsource = "b"\n[[user]]\nname = "ann"\nuid = 1001\n'
        + 'password = "$6$atollsalt$63sz5ZWHaI6weVaGaRahah.lscoU4EEdeaU/iCdNT27wx4GSyB/ezVgmrAlk1'
        + 'bS64OxA.Br59jvMSUYl0wr/Y0"\n'
    )
    (tmp_path / "b").write_text("one")
    recipe = parse_recipe(text, file=str(tmp_path / "atoll.toml"))
    recipe = replace(
        recipe,
        groups=(Group(name="games", gid=60),),
        scripts=(Script(name="s", text="one\ntwo\n"),),
        repositories=(Repository(name="r", uris=("https://x.example/",), suites=("./",)),),
        health=replace(recipe.health, checks=(HealthCheck(name="c", source="b"),)),
        local_files=(LocalReference(key="health.check.source", name="b", row="c"),),
    )
    found = describe_recipe(recipe, None)
    assert found.facets["wishes"] == {"bash": "install", "nano": "remove"}
    assert found.facets["arguments"] == {"quiet": "quiet"}
    assert found.facets["units"] == {"x.service": "masked"}
    assert found.facets["groups"] == {"games": "gid=60"}
    account = found.facets["users"]["ann"]
    assert account == "home=/home/ann uid=1001 shell=/bin/bash password=set"
    assert found.facets["recipe_files"]["/etc/a"].startswith("0644 root:root 5 bytes sha256 2cf2")
    settings = found.facets["settings"]
    assert settings["system.hostname"] == "h"
    assert settings["scripts[s].text"].startswith("8 bytes sha256 ")
    assert settings["repositories[r].uris[0]"] == "https://x.example/"
    assert settings["health.checks[c].content"].startswith("3 bytes")
    assert set(found.unknown) == {"packages"}

    (tmp_path / "b").write_text("two")
    other = compare_systems(found, describe_recipe(recipe, LOCK))
    assert [each.name for each in other.facets["recipe_files"]] == ["/etc/b"]
    assert other.unknown == {"packages": ("no lock is beside the recipe", None)}
    (tmp_path / "b").unlink()
    alone = describe_recipe(recipe, None, has_files=False)
    assert alone.facets["recipe_files"]["/etc/b"] == "0644 root:root from b"


def test_a_changed_input_of_a_script_is_a_difference(tmp_path: Path) -> None:
    (tmp_path / "fonts").mkdir()
    (tmp_path / "fonts/a.ttf").write_text("one")
    (tmp_path / "list").write_text("one")
    recipe = replace(
        parse_recipe(RECIPE, file=str(tmp_path / "atoll.toml")),
        scripts=(Script(name="s", text="true\n", inputs=("fonts", "list")),),
        local_files=(
            LocalReference(key="script.inputs", name="fonts", row="s"),
            LocalReference(key="script.inputs", name="list", row="s"),
        ),
    )
    before = describe_recipe(recipe, None)
    assert compare_systems(before, describe_recipe(recipe, None)).is_equal
    (tmp_path / "fonts/a.ttf").write_text("two")
    (tmp_path / "list").write_text("three")
    found = compare_systems(before, describe_recipe(recipe, None))
    assert [each.name for each in found.facets["settings"]] == [
        "scripts[s].inputs[fonts].content",
        "scripts[s].inputs[list].content",
    ]
    assert "from fonts" in str(describe_recipe(recipe, None, has_files=False).facets["settings"])


def test_every_word_of_a_recipe_is_compared(tmp_path: Path) -> None:
    """Every field outside of the other facets is a setting: nothing of the recipe is left out."""
    recipe = parse_recipe(RECIPE, file=str(tmp_path / "atoll.toml"))
    changed = replace(
        recipe,
        keep=7,
        etc=(("/etc/x", "image"),),
        var=replace(recipe.var, drop=("/var/x",)),
        boot=replace(recipe.boot, timeout=3),
        update=replace(recipe.update, auto="stage"),
        image=replace(recipe.image, labels=(("a", "b"),)),
    )
    found = compare_systems(describe_recipe(recipe, None), describe_recipe(changed, None))
    assert {each.name for each in found.facets["settings"]} == {
        "keep",
        "etc[0][0]",
        "etc[0][1]",
        "var.drop[0]",
        "boot.timeout",
        "update.auto",
        "image.labels[0][0]",
        "image.labels[0][1]",
    }


def test_a_lock() -> None:
    found = describe_lock(LOCK, "atoll.lock")
    assert found.facets["packages"] == {"bash": "5.2-1", "libc6:i386": "2.41-1"}
    assert found.facets["users"] == {"ann": "uid=1000"}
    assert found.facets["settings"]["tool zstd"] == "1.5.7"
    newer = replace(
        LOCK,
        packages=(replace(LOCK.packages[0], sha256="33" * 32), LOCK.packages[1]),
        tree=TreeId("e" * 64),
    )
    changed = compare_systems(found, describe_lock(newer, "other.lock"))
    assert [each.name for each in changed.facets["package_files"]] == ["bash 5.2-1"]
    assert [each.name for each in changed.facets["settings"]] == ["tree"]
    assert changed.facets["packages"] == ()
