"""Edits of a machine file: the recipe says what was asked for, all else stays as it was written."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import RecipeError
from atoll.layering.edit_machine_file import (
    NEW,
    add_arguments,
    add_packages,
    remove_arguments,
    remove_packages,
)
from atoll.recipe.language.parse import parse_machine_recipe

FILE = """\
# mine
schema = 1

[keep]  # as many as fit
deployments = 4

[packages]
# for the terminal
install = [
    "htop",      # what runs
    "tmux=3.5a-3",
]

[[file]]
path = "/etc/motd"
text = "Hello\\n"
"""
NAMES = st.sampled_from(["htop", "tmux", "vim", "nano", "mc", "git"])
WORDS = st.builds(
    lambda name, rest: name + rest, NAMES, st.sampled_from(["", "=1.0", "/sid", "/forky"])
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "remove", "out of the base"]), WORDS), max_size=8
)


def installs(text: str) -> list[str]:
    found = tomllib.loads(text).get("packages", {}).get("install", [])
    assert isinstance(found, list)
    return found


def test_a_package_joins_the_others_and_comments_stay() -> None:
    text = add_packages(FILE, ["vim"])
    assert installs(text) == ["htop", "tmux=3.5a-3", "vim"]
    kept = [line for line in FILE.splitlines() if line.strip()]
    assert [line for line in kept if line in text.splitlines()] == kept


def test_another_version_takes_the_place_of_the_first() -> None:
    text = add_packages(FILE, ["tmux/forky", "htop"])
    assert installs(text) == ["htop", "tmux/forky"]
    assert "# what runs" in text


def test_what_is_removed_leaves_no_empty_table() -> None:
    assert remove_packages(add_packages(NEW, ["htop"]), ["htop"]).strip() == NEW.strip()
    text = remove_packages(FILE, ["htop", "tmux"])
    assert "[packages]" not in text and 'path = "/etc/motd"' in text


def test_a_package_of_the_image_is_removed_and_comes_back() -> None:
    text = remove_packages(NEW, ["nano"], base=["nano"])
    assert tomllib.loads(text)["packages"] == {"remove": ["nano"]}
    assert tomllib.loads(add_packages(text, ["nano=2"]))["packages"] == {"install": ["nano=2"]}
    assert add_packages(text, [], back=["nano"]).strip() == NEW.strip()


def test_kernel_arguments() -> None:
    text = add_arguments(FILE, ["quiet", "console=ttyS0"])
    assert tomllib.loads(text)["kernel"] == {"args": ["quiet", "console=ttyS0"]}
    text = remove_arguments(text, ["quiet", "splash"], base=["splash"])
    assert tomllib.loads(text)["kernel"] == {"args": ["console=ttyS0"], "remove_args": ["splash"]}
    assert "remove_args" not in tomllib.loads(add_arguments(text, ["splash"]))["kernel"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema = 1\npackages = 7\n", "packages: is not a table"),
        ('schema = 1\n[packages]\ninstall = "htop"\n', "packages.install: is not a list"),
        ("schema = \n", "is not TOML"),
    ],
)
def test_a_file_that_is_wrong_is_not_changed(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        add_packages(text, ["htop"])
    assert "/etc/atoll/machine.toml" in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        'schema = 1\npackages = { install = ["mc"] }\n',
        'schema = 1\npackages.install = ["mc"]\n',
        "schema = 1\n[packages]\nrecommends = true\n\n[keep]\ndeployments = 2\n",
        "schema = 1\n",
        "schema = 1",
    ],
)
def test_every_way_to_write_a_table_is_understood(text: str) -> None:
    after = add_packages(text, ["htop"])
    assert installs(after)[-1] == "htop"
    before = tomllib.loads(text)
    before.get("packages", {}).pop("install", None)
    left = tomllib.loads(after)
    left["packages"].pop("install")
    assert {key: value for key, value in left.items() if value} == {
        key: value for key, value in before.items() if value
    }


@given(steps=STEPS)
def test_any_number_of_edits_gives_what_was_asked_for(steps: list[tuple[str, str]]) -> None:
    text = FILE
    wanted, gone = {"htop": "htop", "tmux": "tmux=3.5a-3"}, set()
    for step, word in steps:
        name = word.replace("/", "=").partition("=")[0]
        if step == "add":
            text = add_packages(text, [word])
            wanted[name] = word
            gone.discard(name)
        else:
            base = [name] if step == "out of the base" else []
            text = remove_packages(text, [name], base=base)
            wanted.pop(name, None)
            gone |= set(base)
    recipe = parse_machine_recipe(text, file="machine.toml").recipe
    assert set(recipe.packages.install) == set(wanted.values())
    assert set(recipe.packages.remove) == gone
    assert recipe.keep == 4 and recipe.files[0].text == "Hello\n"
    assert "# mine" in text and "# as many as fit" in text
