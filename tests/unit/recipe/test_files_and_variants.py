"""Recipes with includes, variants and conditions, from disk and from strings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import RecipeError, UsageError
from atoll.recipe.language.parse import parse_problems, parse_recipe, read_problems, read_recipe
from atoll.recipe.model import ImageBase, RecipeBase

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.recipe.model import Recipe

MAIN = """schema = 1
from = "debian:trixie"
include = ["./common.toml"]
[image]
name = "reef"
version = "1"
[packages]
install = ["vim"]
"""
COMMON = """schema = 1
[packages]
install = ["systemd-sysv", "htop"]
[variant.kde.packages]
install = ["konsole"]
"""


def parse(text: str, variant: str | None = None, **more: str) -> Recipe:
    included = {f"{name}.toml": content for name, content in more.items()}
    recipe, problems = parse_problems(
        text, file="x/atoll.toml", variant=variant, architecture="arm64", load=included.__getitem__
    )
    assert not problems
    assert recipe is not None
    return recipe


def test_included_files_come_first() -> None:
    recipe = parse(MAIN, common=COMMON)
    assert recipe.packages.install == ("systemd-sysv", "htop", "vim")
    assert recipe.sources == (("atoll.toml", MAIN), ("common.toml", COMMON))
    assert recipe.text == MAIN
    assert recipe.variants == ("kde",)


def test_order_of_includes_conditions_and_variant() -> None:
    text = """schema = 1
from = "debian:sid"
include = ["./a.toml", "./b.toml"]
image = { name = "reef", version = "1" }
packages.install = ["systemd-sysv"]
kernel.args = ["main"]
[variant.kde.kernel]
args = ["variant"]
[when."variant=kde".kernel]
args = ["when"]
[when."architecture=arm64, suite=sid, variant=kde".kernel]
args = ["all"]
[when."architecture=amd64".kernel]
args = ["never"]
"""
    a = 'schema = 1\nkernel.args = ["a"]\nwhen."suite=sid".kernel.args = ["a-when"]\n'
    b = 'schema = 1\ninclude = ["./a.toml"]\nkernel.args = ["b"]\n'
    b += 'variant.kde.kernel.args = ["b-variant"]\n'
    recipe = parse(text, "kde", a=a, b=b)
    assert recipe.kernel.args == (
        "a",
        "b",
        "main",
        "a-when",
        "when",
        "all",
        "b-variant",
        "variant",
    )
    assert parse(text, a=a, b=b).kernel.args == ("a", "b", "main", "a-when")


def test_the_image_of_a_variant() -> None:
    text = MAIN.replace('include = ["./common.toml"]\n', "")
    text += '[variant.kde]\n[variant.gnome.image]\nname = "sand"\n'
    assert parse(text).image.name == "reef"
    assert parse(text, "kde").image.name == "reef-kde"
    assert parse(text, "gnome").image.name == "sand"
    assert parse(text, "kde").variant == "kde"
    assert parse(text).variants == ("kde", "gnome")


def test_a_variant_changes_what_is_there() -> None:
    text = (
        MAIN
        + """
[[user]]
name = "ada"
groups = ["sudo"]
[units]
enable = ["ssh.service"]
[variant.kde.packages]
remove = ["vim", "htop"]
[[variant.kde.user]]
name = "ada"
gecos = "Ada"
[variant.kde.units]
mask = ["ssh.service"]
"""
    )
    recipe = parse(text, "kde", common=COMMON)
    assert recipe.packages.install == ("systemd-sysv", "konsole")
    assert recipe.packages.remove == ("vim", "htop")
    assert recipe.users[0].groups == ("sudo",)
    assert recipe.users[0].gecos == "Ada"
    assert recipe.units.mask == ("ssh.service",)
    assert recipe.units.enable == ()
    assert parse(text, common=COMMON).units.enable == ("ssh.service",)


def test_a_condition_that_asks_for_the_suite_of_an_image_is_false() -> None:
    text = MAIN.replace("debian:trixie", "store:base").replace('include = ["./common.toml"]\n', "")
    text += '[when."suite=trixie".kernel]\nargs = ["quiet"]\n'
    assert parse(text).kernel.args == ()
    assert parse(f'{text}[debian]\nsuite = "trixie"\n').kernel.args == ("quiet",)


def test_an_unknown_variant_names_those_that_exist(tmp_path: Path) -> None:
    (tmp_path / "common.toml").write_text(COMMON)
    (tmp_path / "atoll.toml").write_text(MAIN)
    with pytest.raises(UsageError) as caught:
        read_recipe(tmp_path, "gnome")
    assert caught.value.hint == "known here: kde"
    with pytest.raises(UsageError) as caught:
        read_recipe(tmp_path, "kd")
    assert caught.value.hint == "did you mean: kde"
    assert read_recipe(tmp_path, "kde").image.name == "reef-kde"


def test_local_names_are_relative_to_the_file_they_stand_in(tmp_path: Path) -> None:
    inner = """schema = 1
include = ["../parts/more.toml"]
[packages]
install = ["systemd-sysv", "./a.deb", "../b.deb", "/tmp/c.deb"]
[[file]]
path = "/etc/motd"
source = "motd"
[[file]]
path = "/etc/issue"
text = "a"
[[script]]
name = "s"
source = "../s.sh"
inputs = ["in"]
[variant.kde.packages]
install = ["./k.deb"]
"""
    more = 'schema = 1\n[[health.check]]\nname = "web"\nsource = "./web"\n'
    (tmp_path / "shared").mkdir()
    (tmp_path / "parts").mkdir()
    (tmp_path / "shared" / "in").mkdir()
    (tmp_path / "shared" / "inner.toml").write_text(inner)
    (tmp_path / "parts" / "more.toml").write_text(more)
    (tmp_path / "atoll.toml").write_text(MAIN.replace("common", "shared/inner"))
    recipe, problems = read_problems(tmp_path / "atoll.toml", "kde")
    assert recipe is None
    assert {(str(problem.file), problem.line, problem.key) for problem in problems} == {
        (f"{tmp_path}/shared/inner.toml", 4, "packages.install"),
        (f"{tmp_path}/shared/inner.toml", 7, "file.source"),
        (f"{tmp_path}/shared/inner.toml", 13, "script.source"),
        (f"{tmp_path}/shared/inner.toml", 16, "variant.kde.packages.install"),
        (f"{tmp_path}/parts/more.toml", 4, "health.check.source"),
    }
    for name in ("shared/a.deb", "b.deb", "shared/motd", "s.sh", "shared/k.deb", "parts/web"):
        (tmp_path / name).touch()
    text = inner.replace(', "/tmp/c.deb"', "")
    (tmp_path / "shared" / "inner.toml").write_text(text)
    recipe = read_recipe(tmp_path, "kde")
    assert recipe.packages.local == ("./shared/a.deb", "./b.deb", "./shared/k.deb")
    assert recipe.files[0].source == "shared/motd"
    assert recipe.scripts[0].source == "./s.sh"
    assert recipe.scripts[0].inputs == ("shared/in",)
    assert recipe.health.checks[0].source == "./parts/web"
    assert set(recipe.local_files) == {
        ("packages.install", "./shared/a.deb", ""),
        ("packages.install", "./b.deb", ""),
        ("packages.install", "./shared/k.deb", ""),
        ("file.source", "shared/motd", "/etc/motd"),
        ("script.source", "./s.sh", "s"),
        ("script.inputs", "shared/in", "s"),
        ("health.check.source", "./parts/web", "web"),
    }
    assert [name for name, _ in recipe.sources] == [
        "atoll.toml",
        "shared/inner.toml",
        "parts/more.toml",
    ]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("oci:layout:tag", "oci:shared/layout:tag"),
        ("oci:/srv/layout", "oci:/srv/layout"),
        ("oci-archive:../a.tar", "oci-archive:./a.tar"),
        ("store:hello", "store:hello"),
        ("docker://registry.example/a:1", "docker://registry.example/a:1"),
    ],
)
def test_the_base_in_an_included_file(written: str, read: str) -> None:
    main = 'schema = 1\ninclude = ["./shared/a.toml"]\nimage = { name = "reef", version = "1" }\n'
    recipe, problems = parse_problems(
        main, file="x/atoll.toml", load=lambda _: f'schema = 1\nfrom = "{written}"\n'
    )
    assert not problems
    assert recipe is not None
    assert recipe.base == ImageBase(reference=read)


def test_another_recipe_as_base(tmp_path: Path) -> None:
    for name in ("base", "mine"):
        (tmp_path / name).mkdir()
    base = MAIN.replace('include = ["./common.toml"]\n', "")
    (tmp_path / "base" / "atoll.toml").write_text(base)
    mine = 'schema = 1\nfrom = "../base#kde"\nimage = { name = "mine", version = "1" }\n'
    (tmp_path / "mine" / "atoll.toml").write_text(mine)
    recipe = read_recipe(tmp_path / "mine")
    path = tmp_path / "mine" / "../base/atoll.toml"
    assert recipe.base == RecipeBase(path=path, variant="kde")
    assert recipe.local_files == (("from", "../base", ""),)
    assert recipe.debian.suite is None


def test_a_text_alone_includes_nothing() -> None:
    with pytest.raises(RecipeError, match="cannot be read: only this text is available"):
        parse_recipe(MAIN, file="atoll.toml")


def test_includes_end(tmp_path: Path) -> None:
    """A directory link to itself gives a file an endless number of names."""
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "common.toml").write_text('schema = 1\ninclude = ["./again/common.toml"]\n')
    (tmp_path / "atoll.toml").write_text(MAIN)
    _, problems = read_problems(tmp_path)
    assert len(problems) == 1
    assert "20 deep" in problems[0].message


def test_a_problem_of_several_variants_is_told_once() -> None:
    text = MAIN.replace('include = ["./common.toml"]\n', "").replace("vim", "systemd-sysv")
    for name in ("a", "b"):
        text += f'[variant.{name}.packages]\nremove = ["systemd-sysv"]\n'
    text += '[[user]]\nname = "ada"\nuid = 3\n'
    _, problems = parse_problems(text, file="r")
    assert [problem.message for problem in problems] == [
        "r:7: packages.install: names no package, in variant a",
        "r:14: user.uid: 3 is no user's",
    ]


def test_a_broken_file_is_told_before_a_variant_that_it_may_hold(tmp_path: Path) -> None:
    (tmp_path / "common.toml").write_text("[")
    (tmp_path / "atoll.toml").write_text(MAIN)
    with pytest.raises(RecipeError, match="is not TOML"):
        read_recipe(tmp_path, "kde")
