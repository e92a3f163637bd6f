"""Package requirements of a recipe: sources, arguments, and what invalidates a lock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from atoll.base.errors import RecipeError
from atoll.builder.steps.tree_sources import format_list, write_tree_sources
from atoll.debian.pin import PinnedArchive
from atoll.debian.resolve import PackageRequirement, parse_requirement
from atoll.lock.requirements import (
    digest_requirements,
    find_sources,
    format_requirements,
    format_time,
    package_requirements,
    snapshot_uris,
)
from atoll.recipe.model import Debian, DebianBase, Image, Packages, Recipe, Repository

MIRROR = "http://mirror.example/debian"
HEX = "0" * 64


def recipe_with(folder: Path = Path("/r"), **more: object) -> Recipe:
    recipe = Recipe(
        file=str(folder / "atoll.toml"),
        text="",
        base=DebianBase(suite="trixie"),
        image=Image(name="a", version="1"),
        packages=Packages(),
        debian=Debian(suite="trixie", mirror=MIRROR, security=False),
    )
    return replace(recipe, **more)  # type: ignore[arg-type]


def debian(**more: object) -> Debian:
    return replace(Debian(suite="trixie", mirror=MIRROR, security=False), **more)  # type: ignore[arg-type]


def sources_of(recipe: Recipe) -> list[tuple[str, str]]:
    return [(one.uri, one.suite) for one in find_sources(recipe, Path("/nowhere"))]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("curl", PackageRequirement(name="curl")),
        ("curl:i386", PackageRequirement(name="curl", architecture="i386")),
        ("g++=4:14.2-1", PackageRequirement(name="g++", version="4:14.2-1")),
        ("curl/sid", PackageRequirement(name="curl", suite="sid")),
        ("curl:i386/sid", PackageRequirement(name="curl", architecture="i386", suite="sid")),
    ],
)
def test_words_for_apt(text: str, word: PackageRequirement) -> None:
    assert parse_requirement(text) == word


def test_a_suite_has_updates_and_security() -> None:
    security = "http://security.example"
    recipe = recipe_with(debian=debian(security=True, security_mirror=security))
    assert sources_of(recipe) == [
        (MIRROR, "trixie"),
        (MIRROR, "trixie-updates"),
        (security, "trixie-security"),
    ]
    assert sources_of(recipe_with(debian=debian(updates=False))) == [(MIRROR, "trixie")]


def test_a_rolling_suite_has_neither() -> None:
    recipe = recipe_with(debian=debian(suite="sid", security=True))
    assert sources_of(recipe) == [(MIRROR, "sid")]


def test_a_suite_that_a_word_names_is_asked_last() -> None:
    packages = Packages(install=("a/sid", "b/trixie-updates"), sources=(("c", "trixie-backports"),))
    found = find_sources(recipe_with(packages=packages), Path("/nowhere"))
    assert [(one.suite, one.priority) for one in found] == [
        ("trixie", None),
        ("trixie-updates", None),
        ("sid", 100),
        ("trixie-backports", 100),
    ]


def test_only_a_picture_of_the_past_may_have_expired() -> None:
    pattern = "http://snap.example/{snapshot}/debian"
    past = recipe_with(debian=debian(mirror=pattern, snapshot="20260820T000000Z"))
    one = find_sources(past, Path("/nowhere"))[0]
    assert (one.uri, one.dated) == ("http://snap.example/20260820T000000Z/debian", True)
    now = find_sources(recipe_with(debian=debian(mirror=pattern)), Path("/nowhere"))[0]
    assert "{" not in now.uri and not now.dated


def test_every_address_and_suite_of_a_repository_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "k.asc").write_text("key")
    repo = Repository(name="v", uris=("http://a", "http://b/"), suites=("./",), key="k.asc")
    recipe = recipe_with(tmp_path, repositories=(repo,))
    found = find_sources(recipe, tmp_path)[2:]
    assert [(one.name, one.uri, one.components) for one in found] == [
        ("v-1", "http://a", ()),
        ("v-2", "http://b", ()),
    ]
    assert found[0].key == tmp_path / "k.asc"
    (tmp_path / "k.asc").unlink()
    with pytest.raises(RecipeError, match=r"k\.asc: no such file"):
        find_sources(recipe, tmp_path)


def digest(recipe: Recipe) -> str:
    return digest_requirements(recipe, package_requirements(recipe))


def test_what_decides_packages_decides_whether_a_lock_fits() -> None:
    plain = recipe_with(packages=Packages(install=("a", "b")))
    same = [
        replace(plain, packages=Packages(install=("b", "a"))),
        replace(plain, debian=debian(mirror="http://other.example")),
        replace(plain, packages=replace(plain.packages, debconf=("x x/y boolean true",))),
    ]
    changed = [
        replace(plain, packages=Packages(install=("a",))),
        replace(plain, packages=replace(plain.packages, remove=("c",))),
        replace(plain, packages=replace(plain.packages, recommends=True)),
        replace(plain, packages=replace(plain.packages, versions=(("a", "1*"),))),
        replace(plain, packages=replace(plain.packages, sources=(("a", "sid"),))),
        replace(plain, debian=debian(components=("main", "contrib"))),
        replace(plain, debian=debian(architectures=("i386",))),
        replace(plain, debian=debian(snapshot="20260820T000000Z")),
        replace(plain, debian=debian(updates=False)),
        replace(plain, kernel=replace(plain.kernel, package="linux-image-amd64")),
        replace(plain, repositories=(Repository(name="v", uris=("u",), suites=("s",)),)),
    ]
    assert {digest(one) for one in same} == {digest(plain)}
    assert len({digest(one) for one in [plain, *changed]}) == len(changed) + 1
    assert "install a" in format_requirements(plain, package_requirements(plain))


def test_a_snapshot_is_asked_at_the_locks_time_and_later() -> None:
    recipe = recipe_with(debian=debian(mirror="http://s/{snapshot}"))
    assert format_time(0) == "19700101T000000Z"
    expected = (
        "http://s/19700101T000000Z",
        "http://s/19700101T120000Z",
        "http://s/19700102T120000Z",
    )
    assert snapshot_uris(recipe, 0) == dict.fromkeys(["trixie", "trixie-updates"], expected)
    fixed = recipe_with(debian=debian(mirror="http://s/{snapshot}", snapshot="20260820T000000Z"))
    assert snapshot_uris(fixed, 0)["trixie"] == ("http://s/20260820T000000Z",)
    assert snapshot_uris(recipe_with(), 0) == {}


def archive(name: str, suite: str, uri: str = MIRROR) -> PinnedArchive:
    return PinnedArchive(name=name, uri=uri, suite=suite, components=("main",), release=HEX)


def test_the_trees_apt_knows_the_archives_and_kept_repositories(tmp_path: Path) -> None:
    (tmp_path / "k").write_text("-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
    repo = Repository(name="v", uris=("http://v",), suites=("stable",), key="k")
    left_out = replace(repo, name="w", keep=False)
    recipe = recipe_with(tmp_path, repositories=(repo, left_out))
    archives = [
        archive("trixie", "trixie"),
        archive("sid", "sid"),
        archive("v", "stable", "http://v"),
        archive("w", "stable", "http://w"),
    ]
    root = tmp_path / "root"
    write_tree_sources(root, recipe, archives)
    assert format_list(recipe, archives) == f"deb {MIRROR} trixie main\n"
    apt = root / "etc/apt"
    found = sorted(str(path.relative_to(apt)) for path in apt.rglob("*") if path.is_file())
    assert found == ["keyrings/v.asc", "sources.list", "sources.list.d/v.sources"]
    text = (apt / "sources.list.d/v.sources").read_text()
    assert "Signed-By: /etc/apt/keyrings/v.asc\n" in text and "URIs: http://v\n" in text
