"""Facts are read where available, and missing with a reason otherwise."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

from atoll.base.report import NullReporter
from atoll.debian.dpkg_database import Package
from atoll.lint.cached_facts import parse_ids, parse_listing, read_accounts, read_contents
from atoll.lint.context import FactSources, read_facts, read_local
from atoll.lint.model import FactKind
from atoll.lint.names import near_names
from atoll.recipe.model import ImageBase
from tests.unit.lint.subjects import LOCK, RECIPE

if TYPE_CHECKING:
    from pathlib import Path

STATUS = "Package: {0}\nStatus: install ok installed\nVersion: {1}\nArchitecture: amd64\n"


def make_layer(cache: Path, kind: str, versions: dict[str, str], files: dict[str, str]) -> Path:
    """A cached root or step: ``files`` maps packages to their files."""
    layer = cache / kind / "0"
    info = layer / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    status = "\n".join(STATUS.format(*row) for row in versions.items())
    (info.parent / "status").write_text(status)
    for name, text in files.items():
        (info / f"{name}.list").write_text(text)
    return layer


def plan(**versions: str) -> tuple[Package, ...]:
    return tuple(Package(name=n, version=v, architecture="amd64") for n, v in versions.items())


def test_contents_are_what_builds_left(tmp_path: Path) -> None:
    make_layer(tmp_path, "roots", {"bash": "1"}, {"bash": "/bin/bash\n"})
    step = make_layer(
        tmp_path,
        "steps",
        {"bash": "1", "zsh": "1", "old": "1", "other": "1"},
        {
            "zsh:amd64": "/usr/bin/zsh\n/var/lib/zsh\n/var/lib/zsh/x\n",
            "old": "/old\n",
            "other": "/other\n",
        },
    )
    (step / "var/lib/zsh").mkdir()
    contents = read_contents(tmp_path, plan(zsh="1", old="2"), {})
    assert contents.owners == {
        "/usr/bin/bash": "bash",
        "/usr/bin/zsh": "zsh",
        "/var/lib/zsh/x": "zsh",
    }
    assert not contents.whole
    assert read_contents(tmp_path, plan(zsh="1"), {}).whole


def test_accounts_are_the_locks_or_a_builds(tmp_path: Path) -> None:
    wanted = plan(a="1")
    assert read_accounts(tmp_path, None, wanted) is None
    layer = make_layer(tmp_path, "steps", {"a": "1"}, {})
    (layer / "etc").mkdir()
    (layer / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nada:x:1000:1000:::\nodd\n")
    (layer / "etc/group").write_text("root:x:0:\nnetdev:x:101:ada\n")
    made = read_accounts(tmp_path, None, wanted)
    assert made is not None
    assert (made.users, made.groups) == ({"root": 0, "ada": 1000}, {"root": 0, "netdev": 101})
    assert read_accounts(tmp_path, None, None) is None
    locked = read_accounts(tmp_path, LOCK, None)
    assert locked is not None
    assert locked.users == {"_ssh": 101}


def test_accounts_are_not_those_of_another_recipes_build(tmp_path: Path) -> None:
    """A group of this recipe's packages was reported as unknown after another recipe's build."""
    layer = make_layer(tmp_path, "steps", {"a": "1", "other": "1"}, {})
    (layer / "etc").mkdir()
    (layer / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (layer / "etc/group").write_text("root:x:0:\n")
    assert read_accounts(tmp_path, None, plan(a="1")) is not None
    assert read_accounts(tmp_path, None, plan(a="1", netbase="1")) is None
    assert read_accounts(tmp_path, None, plan(a="2")) is None


def test_nothing_is_known(tmp_path: Path) -> None:
    place = FactSources(store=tmp_path, offline=True, reporter=NullReporter())
    facts = read_facts(RECIPE, None, place)
    assert facts.missing.keys() == set(FactKind)
    assert "offline" in facts.missing[FactKind.LISTS]
    assert not any(facts.has(need) for need in FactKind)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_says_what_is_installed(tmp_path: Path) -> None:
    place = FactSources(store=tmp_path, offline=True, reporter=NullReporter())
    based = replace(
        RECIPE, base=ImageBase(reference="store:x"), debian=replace(RECIPE.debian, suite=None)
    )
    facts = read_facts(based, LOCK, place)
    assert facts.plans("linux-image-*")
    assert facts.has(FactKind.ACCOUNTS)
    assert facts.missing[FactKind.LISTS] == "the base decides which packages are available"


def test_local_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "no.deb").write_text("x")
    subprocess.run(["mkfifo", tmp_path / "pipe"], check=True)
    assert read_local(tmp_path / "gone") is None
    (tmp_path / "folder").mkdir()
    kinds = [read_local(tmp_path / name) for name in ("folder", "pipe", "file")]
    assert [found.kind for found in kinds if found] == ["directory", "other", "file"]
    broken = read_local(tmp_path / "no.deb")
    assert broken
    assert broken.package is None


def test_ids_and_listings_are_read() -> None:
    assert parse_ids("a:x:1:\nb:x:no:\n\n") == {"a": 1}
    listing = (
        "drwxr-xr-x root/root 0 2026-01-01 00:00 ./usr/\n"
        "-rw-r--r-- root/root 3 2026-01-01 00:00 ./usr/a b\n"
        "lrwxrwxrwx root/root 0 2026-01-01 00:00 ./lib/x -> /usr/y\n"
        "hrw-r--r-- root/root 0 2026-01-01 00:00 ./usr/c link to ./usr/d\n"
    )
    assert list(parse_listing(listing)) == ["/usr/a b", "/usr/lib/x", "/usr/c"]


def test_near_names() -> None:
    assert near_names("htopp", ["htop", "vim", "htop-very-long-name"]) == ("htop",)


def test_private_keys_in_local_files_are_seen(tmp_path: Path) -> None:
    key = "-----BEGIN OPENSSH " + "PRIVATE KEY-----\n"
    (tmp_path / "folder/below").mkdir(parents=True)
    (tmp_path / "folder/below/key").write_text(f"# mine\n{key}")
    (tmp_path / "folder/public").write_text("-----BEGIN PUBLIC KEY-----\n")
    for name, secret in (("folder", True), ("folder/below/key", True), ("folder/public", False)):
        found = read_local(tmp_path / name)
        assert found is not None and found.secret is secret
