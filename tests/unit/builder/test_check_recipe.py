"""A finished tree that is not as its recipe says: each difference is found, with its line."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import RecipeError
from atoll.builder.finish.check_recipe import check_recipe, find_differences, read_contents
from atoll.builder.finish.factory import FACTORY
from atoll.builder.finish.image_layout import SEEDS
from atoll.builder.finish.paths import path_in_tree
from atoll.image.paths import TREE_OWNED
from atoll.recipe.model import (
    Debian,
    DebianBase,
    File,
    Group,
    Image,
    Packages,
    Recipe,
    Script,
    Units,
    User,
)

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """\
schema = 1
[[file]]
path = "/etc/one"
text = "1"

[units]
enable = ["first.service"]
disable = [
    "second.service",
]
"""
UNIT = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    files = {
        "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n"
        f"me:x:{os.getuid()}:{os.getgid()}::/home/me:/bin/bash\n",
        "etc/group": f"root:x:0:\nme:x:{os.getgid()}:\naudio:x:29:me\n",
        "etc/shadow": "root:*:1::::::\nme:$6$x:1::::::\n",
        "etc/gshadow": "",
        "etc/one": "1",
        TREE_OWNED: "/var/lib/dpkg\n",
        SEEDS: "",
        **{f"usr/lib/systemd/system/{name}.service": UNIT for name in ("first", "second")},
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    enable(root, "first.service")
    return root


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return Recipe(
        file=str(tmp_path / "atoll.toml"),
        text=TEXT,
        base=DebianBase(suite="trixie"),
        image=Image(name="small", version="1"),
        debian=Debian(suite="trixie"),
        packages=Packages(),
        files=(File(path="/etc/one", text="1", owner="me", group="me"),),
        users=(User(name="me", home="/home/me", password_hash="$6$x", groups=("audio", "me")),),
        groups=(Group(name="audio", gid=29),),
        units=Units(enable=("first.service",), disable=("second.service",)),
    )


def enable(root: Path, name: str, *, place: str = "etc", as_name: str | None = None) -> None:
    wants = root / place / "systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / (as_name or name)).symlink_to(f"/usr/lib/systemd/system/{name}")


def differences(root: Path, recipe: Recipe) -> list[str]:
    return [each.message for each in find_differences(root, recipe, read_contents(root, recipe))]


def test_what_is_as_it_says_passes(root: Path, recipe: Recipe) -> None:
    assert differences(root, recipe) == []


@pytest.mark.parametrize("place", ["etc", "usr/lib"])
@pytest.mark.parametrize("as_name", [None, "alias.service"])
def test_a_disabled_unit_that_starts_is_named_with_its_line(
    root: Path, recipe: Recipe, place: str, as_name: str | None
) -> None:
    if (place, as_name) == ("usr/lib", "alias.service"):
        return
    enable(root, "second.service", place=place, as_name=as_name)
    with pytest.raises(RecipeError) as caught:
        check_recipe(root, recipe, read_contents(root, recipe))
    assert (caught.value.key, caught.value.line) == ("units.disable", 9)
    assert "second.service still starts" in caught.value.message
    (root / "etc/systemd/system/second.service").symlink_to("/dev/null")
    assert differences(root, recipe) == []


def test_units_that_are_not_enabled_or_masked_are_named(root: Path, recipe: Recipe) -> None:
    units = Units(
        enable=("second.service", "apt-daily.timer"),
        mask=("first.service",),
        disable=("serial-getty@ttyS0.service",),
    )
    said = "\n".join(differences(root, replace(recipe, units=units)))
    for words in (
        "second.service is not enabled",
        "Atoll masks it",
        "first.service is not masked",
        "serial-getty@ttyS0.service still starts, because of",
    ):
        assert words in said


def test_instances_sockets_and_init_scripts_count_as_enabled(root: Path, recipe: Recipe) -> None:
    system = root / "usr/lib/systemd/system"
    (system / "tool@.service").write_text(UNIT)
    (system / "parent.service").write_text("[Install]\nAlso=first.service\n")
    (root / "etc/rc3.d").mkdir()
    (root / "etc/rc3.d/S01old").symlink_to("../init.d/old")
    enable(root, "tool@.service", as_name="tool@one.service")
    names = ("tool@one.service", "tool@.service", "parent.service", "old.service", "first")
    units = Units(enable=names, disable=("tool@two.service",))
    assert differences(root, replace(recipe, units=units)) == []
    units = Units(disable=("tool@one.service",))
    assert len(differences(root, replace(recipe, units=units))) == 1


def test_files_have_their_mode_owner_kind_and_content(root: Path, recipe: Recipe) -> None:
    one = recipe.files[0]
    for file, words in (
        (replace(one, mode=0o600), "has the mode 0644, not 0600"),
        (replace(one, owner="root2"), "not to root2:me"),
        (replace(one, link="two"), "is not a link"),
        (replace(one, path="/etc/absent"), "is not in the tree"),
    ):
        said = differences(root, replace(recipe, files=(file,)))
        assert len(said) == 1
        assert words in said[0]


def test_what_the_last_steps_change_is_noticed_though_scripts_may_change_all(
    root: Path, recipe: Recipe
) -> None:
    scripted = replace(recipe, scripts=(Script(name="x", text="true"),))
    before = read_contents(root, scripted)
    assert not list(find_differences(root, scripted, before))
    (root / "etc/one").write_text("other")
    found = list(find_differences(root, scripted, before))
    assert [each.message for each in found] == ["/etc/one has another content"]
    (root / "etc/one").unlink()
    found = list(find_differences(root, scripted, before))
    assert [each.message for each in found] == ["/etc/one is not in the tree"]
    assert not list(find_differences(root, scripted, {}))


def test_accounts_are_as_they_are_said_to_be(root: Path, recipe: Recipe) -> None:
    user = recipe.users[0]
    for other, words in (
        (replace(user, name="absent"), "no account absent"),
        (replace(user, shell="/bin/zsh"), "shell of me is /bin/bash, not /bin/zsh"),
        (replace(user, uid=4711), f"uid of me is {os.getuid()}"),
        (replace(user, home="/srv/me"), "home of me"),
        (replace(user, groups=("sudo",)), "group sudo of me is not there"),
        (replace(user, password_hash="$6$secret"), "password of me is another one"),
        (replace(user, ssh_keys=("ssh-ed25519 A",)), "lacks a key of me"),
    ):
        said = differences(root, replace(recipe, users=(other,)))
        assert any(words in each for each in said)
        assert not any("secret" in each for each in said)
    said = differences(root, replace(recipe, groups=(Group(name="audio", gid=30),)))
    assert said == ["the group audio has the id 29, not 30"]


def test_what_nothing_seeds_is_named(root: Path, recipe: Recipe) -> None:
    file = File(path="/srv/my data/x", text="1", owner="me", group="me")
    copy = root / f"{FACTORY[1:]}/var/srv/my data/x"
    copy.parent.mkdir(parents=True)
    copy.write_text("1")
    said = differences(root, replace(recipe, files=(file,)))
    assert said == ["/srv/my data/x does not reach any machine: nothing creates it in /var"]
    (root / SEEDS).write_text(f'C "/var/srv/my data" - - - - {FACTORY}/var/srv/my\\x20data\n')
    assert differences(root, replace(recipe, files=(file,))) == []


def test_paths_are_found_at_their_place_in_a_tree(root: Path) -> None:
    (root / "lib").symlink_to("usr/lib")
    for path, place in (
        ("/lib/x", "/usr/lib/x"),
        ("/opt/tool/x", "/usr/lib/opt/tool/x"),
        ("/root/.x", f"{FACTORY}/var/root/.x"),
        ("/usr/local/bin/x", f"{FACTORY}/var/usrlocal/bin/x"),
        ("/var/lib/dpkg/x", "/usr/lib/atoll/var/lib/dpkg/x"),
        ("/var/lib/own/x", f"{FACTORY}/var/lib/own/x"),
        ("/etc/x", "/etc/x"),
    ):
        assert path_in_tree(root, path) == place
