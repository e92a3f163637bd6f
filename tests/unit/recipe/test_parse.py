"""Valid recipes and arbitrary text give a Recipe or a RecipeError, nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from atoll.base.errors import RecipeError
from atoll.recipe.language.parse import parse_problems, parse_recipe, read_recipe
from atoll.recipe.model import Debian, File, Image, Kernel, Packages, System, Units, User

if TYPE_CHECKING:
    from pathlib import Path

SMALLEST = """schema = 1
from = "debian:trixie"

[image]
name = "hello"
version = "1"

[packages]
install = ["systemd-sysv"]
"""

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0XvYH3oN1FQmXYd7jQ3sJ0XvYH3oN1FQmXYd7jQ3sJ ada@example"
HASH = (
    "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2"
    "/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"
)

FULL = f"""
schema = 1
from = "debian:sid"

[image]
name = "a.b-c_d"
version = "2026.11.1-rc1"

[debian]
mirror = "http://mirror.example:3142/debian"
components = ["main", "non-free-firmware"]

[packages]
install = [
    "systemd-sysv",              # the init
    "g++",
    "libc6:arm64",
    "htop=3.4.1-5+b1~deb13u1",
    "podman/trixie-backports",
    "./local/tool_1.0_all.deb",
    "./local/other_1.0_all.deb",
]
remove = ["nano", "vim-tiny:amd64"]

[kernel]
args = ["quiet", "console=ttyS0,115200", 'dyndbg="file a.c +p"']

[system]
hostname = "Reef-1.example"
locale = "de_DE.UTF-8"
timezone = "America/Argentina/Buenos_Aires"

[[user]]
name = "ada"
uid = 1000
gecos = "Ada Lovelace,,,"
shell = "/usr/bin/zsh"
groups = ["sudo", "adm"]
ssh_keys = ["{KEY}"]
password = "{HASH}"

[[user]]
name = "root"
ssh_keys = ['command="/usr/bin/true",no-pty {KEY}']

[[file]]
path = "/etc/motd"
text = "An atoll.\\n"

[[file]]
path = "/usr/bin/hello"
source = "hello.sh"
mode = "4755"
owner = "ada"
group = "sudo"

[units]
enable = ["ssh.service", "getty@tty2.service"]
disable = ["apt-daily.timer"]
mask = ["systemd-networkd-wait-online.service"]
"""


def test_smallest() -> None:
    recipe = parse_recipe(SMALLEST, file="atoll.toml")
    assert recipe.image == Image(name="hello", version="1")
    assert recipe.debian == Debian(suite="trixie", mirror=None, components=None)
    assert recipe.packages == Packages(install=("systemd-sysv",))
    assert (recipe.kernel, recipe.system, recipe.units) == (Kernel(), System(), Units())
    assert recipe.users == ()
    assert recipe.files == ()
    assert recipe.text == SMALLEST


def test_every_key() -> None:
    recipe = parse_recipe(FULL, file="x/atoll.toml")
    assert recipe.debian == Debian(
        suite="sid",
        mirror="http://mirror.example:3142/debian",
        components=("main", "non-free-firmware"),
    )
    assert recipe.packages.install[1:4] == ("g++", "libc6:arm64", "htop=3.4.1-5+b1~deb13u1")
    assert recipe.packages.local[0] == "./local/tool_1.0_all.deb"
    assert recipe.packages.remove == ("nano", "vim-tiny:amd64")
    assert recipe.kernel.args[2] == 'dyndbg="file a.c +p"'
    assert recipe.users[0] == User(
        name="ada",
        home="/home/ada",
        uid=1000,
        gecos="Ada Lovelace,,,",
        shell="/usr/bin/zsh",
        groups=("sudo", "adm"),
        ssh_keys=(KEY,),
        password_hash=HASH,
    )
    assert recipe.users[1].home == "/root"
    assert recipe.files == (
        File(path="/etc/motd", text="An atoll.\n"),
        File(path="/usr/bin/hello", source="hello.sh", mode=0o4755, owner="ada", group="sudo"),
    )
    assert recipe.units.disable == ("apt-daily.timer",)
    assert str(recipe.resolve("../hello.sh")) == "x/../hello.sh"


def test_read_finds_atoll_toml_and_local_files(tmp_path: Path) -> None:
    (tmp_path / "atoll.toml").write_text(FULL)
    with pytest.raises(RecipeError, match=r"tool_1\.0_all\.deb is not a file"):
        read_recipe(tmp_path)
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "tool_1.0_all.deb").touch()
    (tmp_path / "local" / "other_1.0_all.deb").touch()
    (tmp_path / "hello.sh").touch()
    recipe = read_recipe(tmp_path)
    assert recipe == read_recipe(tmp_path / "atoll.toml")
    assert recipe.resolve("hello.sh") == tmp_path / "hello.sh"


@pytest.mark.parametrize("suite", ["trixie", "forky", "sid", "testing", "stable"])
def test_suites(suite: str) -> None:
    text = SMALLEST.replace("trixie", suite)
    assert parse_recipe(text, file="r").debian.suite == suite


@pytest.mark.parametrize("kind", ["y", "gy", "7", "6", "5", "2b"])
def test_kinds_of_password_hashes(kind: str) -> None:
    text = f'{SMALLEST}[[user]]\nname = "ada"\npassword = "${kind}$abc$0123456789abcdefghij"\n'
    assert parse_recipe(text, file="r").users[0].password_hash


def test_plain_password_is_never_repeated() -> None:
    text = f'{SMALLEST}[[user]]\nname = "ada"\npassword = "correct horse"\n'
    _, problems = parse_problems(text, file="r")
    assert "horse" not in "".join(problem.message + str(problem.hint) for problem in problems)


def only_recipe_errors(text: str) -> None:
    recipe, problems = parse_problems(text, file="r")
    assert (recipe is None) == bool(problems)
    for problem in problems:
        assert isinstance(problem, RecipeError)
        assert problem.message.startswith("r")
        assert problem.line is None or 1 <= problem.line <= text.count("\n") + 1


@given(st.text())
@example("\ufeff")
@example('"\\ud800" = 1')
@example("a = " + "9" * 5000)
@example("a = 2026-13-40")
@example("a = " + "{b=" * 3000 + "1" + "}" * 3000)
def test_arbitrary_text(text: str) -> None:
    only_recipe_errors(text)


LINES = FULL.splitlines(keepends=True)


@given(
    st.lists(
        st.tuples(
            st.integers(0, len(FULL)),
            st.integers(0, 12),
            st.text(max_size=6)
            | st.sampled_from(['"', "[", "]", "=", "\n", "'''", "#", "\\", "{"]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_damaged_recipes(cuts: list[tuple[int, int, str]]) -> None:
    text = FULL
    for start, length, new in cuts:
        text = text[:start] + new + text[start + length :]
    only_recipe_errors(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@given(st.integers(0, len(LINES) - 1), VALUES)
def test_other_values(number: int, value: object) -> None:
    name, equals, _ = LINES[number].partition("=")
    line = f"{name}= {inline(value)}\n" if equals else LINES[number]
    only_recipe_errors("".join([*LINES[:number], line, *LINES[number + 1 :]]))


def inline(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case None:
            return "1979-05-27"
        case list():
            return f"[{', '.join(map(inline, value))}]"
        case dict():
            return f"{{{', '.join(f'{inline(k)} = {inline(v)}' for k, v in value.items())}}}"
        case str():
            return '"' + "".join(f"\\U{ord(letter):08x}" for letter in value) + '"'
    return str(value)
