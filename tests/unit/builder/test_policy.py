"""What a derived recipe says to machines, over what its base says."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from atoll.base.errors import RecipeError
from atoll.builder.steps.policy import WritePolicy, list_policy, merge_policy
from atoll.image.policy import format_policy_document
from atoll.recipe.model import (
    Box,
    Debian,
    EmptyBase,
    Flatpak,
    Health,
    HealthCheck,
    Image,
    Packages,
    Publish,
    Recipe,
    Update,
)

SYSTEM = Path(__file__).parents[3] / "system"
PLAIN = Recipe(
    file="x",
    text="",
    base=EmptyBase(),
    image=Image(name="x", version="1"),
    debian=Debian(),
    packages=Packages(),
)
BASE = replace(
    PLAIN,
    keep=4,
    etc=(("/etc/a", "image"), ("/etc/b", "local")),
    update=Update(follow="docker://example.org/base", auto="stage", window="weekly"),
    health=Health(units=("ssh.service",)),
    publish=Publish(to="docker://example.org/base"),
    flatpak=Flatpak(remotes=(("hub", "https://hub"),), install=("org.a",)),
    boxes=(Box(name="dev", image="docker://example.org/dev"),),
)


def test_what_is_not_said_stays_but_for_where_it_comes_from_and_goes() -> None:
    merged = merge_policy(list_policy(BASE), list_policy(PLAIN))
    expected = list_policy(BASE)
    expected["publish"] = list_policy(PLAIN)["publish"]
    expected["update"]["follow"] = None
    assert merged == expected


def test_what_is_said_wins_and_lists_are_joined() -> None:
    own = replace(
        PLAIN,
        keep=2,
        etc=(("/etc/b", "image"),),
        update=Update(auto="check"),
        health=Health(units=("cups.service", "ssh.service")),
        boxes=(Box(name="dev", image="docker://example.org/mine"),),
    )
    merged = merge_policy(list_policy(BASE), list_policy(own))
    assert merged["keep"] == 2
    assert merged["etc"] == [["/etc/b", "image"], ["/etc/a", "image"]]
    assert merged["update"] == list_policy(own)["update"]
    assert merged["health"]["units"] == ["cups.service", "ssh.service"]
    assert [box["image"] for box in merged["boxes"]] == ["docker://example.org/mine"]
    assert merged["flatpak"] == list_policy(BASE)["flatpak"]


def test_newer_keys_of_an_update_are_there_only_where_they_are_set() -> None:
    assert list(list_policy(BASE)["update"]) == ["follow", "auto", "window", "delay"]
    own = replace(PLAIN, update=Update(auto="reboot", reboot_window="Sun 04:00", battery=True))
    update = list_policy(own)["update"]
    assert update["reboot_window"] == "Sun 04:00" and update["battery"] is True
    assert not {"metered", "reserve"} & update.keys()


def test_the_shell_of_machines_finds_what_updates_by_itself() -> None:
    """``has-update-policy`` decides in each boot whether Python is started."""
    script = (SYSTEM / "usr/lib/atoll/has-update-policy").read_text()
    pattern = re.search("grep -Eqs '(.*)' /usr/lib/atoll/policy.json", script)
    assert pattern is not None
    for auto in ("none", "check", "download", "stage", "reboot"):
        text = format_policy_document(list_policy(replace(PLAIN, update=Update(auto=auto))))
        assert bool(re.search(pattern[1], text, re.MULTILINE)) == (auto != "none")


def test_without_a_base_it_is_the_recipes_own() -> None:
    assert merge_policy(None, list_policy(BASE)) == list_policy(BASE)


def test_a_missing_program_is_told_with_its_key(tmp_path: Path) -> None:
    check = HealthCheck(name="web", source="gone")
    recipe = replace(PLAIN, file=str(tmp_path / "atoll.toml"), health=Health(checks=(check,)))
    with pytest.raises(RecipeError) as caught:
        WritePolicy(recipe=recipe).parts()
    assert caught.value.key == "health.check.source"
