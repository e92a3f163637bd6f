"""Builds without root: who may, and how ids are mapped."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import MissingPrivilege, MissingProgram
from atoll.host.userns import (
    NEEDED,
    SUBGID,
    SUBUID,
    IdRange,
    explain_refusal,
    format_map,
    is_initial_namespace,
    parse_ranges,
    plan_range,
    plan_ranges,
)

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "ann:100000:65536\nbob:165536:65536\n1000:300000:1000\n# ann:1:1\nann:x:1\nann:7\n"


def test_ranges_are_found_by_name_and_by_number() -> None:
    assert parse_ranges(TEXT, "ann", 1000) == (
        IdRange(first=100000, count=65536),
        IdRange(first=300000, count=1000),
    )
    assert parse_ranges(TEXT, "eve", 1001) == ()


def test_the_person_is_root_and_the_ranges_follow() -> None:
    assert format_map(1000, [IdRange(first=100000, count=65536)]) == "0 1000 1 1 100000 65535"
    several = [IdRange(first=100000, count=1000), IdRange(first=500000, count=80000)]
    assert format_map(1000, several) == "0 1000 1 1 100000 1000 1001 500000 64535"


@given(st.lists(st.integers(0, 70000), max_size=6).filter(lambda counts: sum(counts) >= NEEDED))
def test_every_id_of_a_system_is_mapped_once(counts: list[int]) -> None:
    ranges = [IdRange(first=n * 100000, count=count) for n, count in enumerate(counts, start=1)]
    numbers = [int(number) for number in format_map(1000, ranges).split()]
    rows = [tuple(numbers[n : n + 3]) for n in range(0, len(numbers), 3)]
    inside = [number for first, _, count in rows for number in range(first, first + count)]
    assert inside == list(range(NEEDED + 1))
    outside = [number for _, first, count in rows for number in range(first, first + count)]
    assert len(set(outside)) == NEEDED + 1


@given(st.text(max_size=200), st.text(max_size=10), st.integers(0, 1 << 33))
def test_any_text_is_read(text: str, name: str, number: int) -> None:
    parse_ranges(text, name, number)
    assert plan_range(text).first >= 100000


def test_without_ids_it_says_which_command_sets_them_aside() -> None:
    with pytest.raises(MissingPrivilege) as caught:
        plan_ranges("building a tree", SUBUID, TEXT, "eve", 1001)
    assert caught.value.message == (
        "building a tree needs root, or 65535 subordinate ids: /etc/subuid has none for eve"
    )
    assert caught.value.hint == (
        "as root: usermod --add-subuids 301000-366535 --add-subgids 301000-366535 eve;"
        " or try again with sudo"
    )


def test_too_few_ids_are_said_to_be_too_few() -> None:
    with pytest.raises(MissingPrivilege, match="/etc/subgid has too few for eve") as caught:
        plan_ranges("building", SUBGID, "eve:100000:1000\n", "eve", 1001)
    assert "usermod --add-subgids 101000-166535 eve" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("number", "sysctls", "hint"),
    [
        (errno.ENOSPC, {"user.max_user_namespaces": "0"}, "sysctl user.max_user_namespaces=10000"),
        (
            errno.EPERM,
            {"user.max_user_namespaces": "9", "kernel.unprivileged_userns_clone": "0"},
            "sysctl kernel.unprivileged_userns_clone=1",
        ),
        (
            errno.EACCES,
            {"kernel.apparmor_restrict_unprivileged_userns": "1"},
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (errno.EPERM, {}, "try again with sudo"),
    ],
)
def test_a_refusal_names_the_setting(number: int, sysctls: dict[str, str], hint: str) -> None:
    error = OSError(number, os.strerror(number))
    refusal = explain_refusal("building a tree", error, sysctls)
    assert isinstance(refusal, MissingProgram)
    assert "user namespaces" in refusal.message
    assert hint in str(refusal.hint)


def test_only_a_map_of_all_ids_is_the_machines(tmp_path: Path) -> None:
    path = tmp_path / "uid_map"
    path.write_text("         0          0 4294967295\n")
    assert is_initial_namespace(path)
    path.write_text("         0       1000          1\n         1     100000      65535\n")
    assert not is_initial_namespace(path)
