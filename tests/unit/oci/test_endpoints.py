from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import Damaged, Refused
from atoll.oci.endpoints import Endpoint, find_endpoints, parse_rules, read_rules
from atoll.oci.reference import RegistryReference, parse_reference

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "sha256:" + "0" * 64
RULES = """
[[registry]]
location = "plain.example:5000"
insecure = true

[[registry]]
prefix = "a.example/team"
location = "b.example/mirrored/team"
[[registry.mirror]]
location = "near.example"
[[registry.mirror]]
location = "fixed.example/x"
insecure = true
pull-from-mirror = "digest-only"

[[registry]]
prefix = "a.example"
blocked = true

[[registry]]
prefix = "*.wild.example"
mirror-by-digest-only = true
[[registry.mirror]]
location = "cache.example/wild"
"""


def endpoints(text: str) -> list[str]:
    reference = parse_reference(text)
    assert isinstance(reference, RegistryReference)
    found = find_endpoints(reference, parse_rules(RULES.encode(), where="x"))
    return [
        f"{each.host}/{each.repository}{' insecure' if each.insecure else ''}" for each in found
    ]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("other.example/x", ["other.example/x"]),
        ("plain.example:5000/x/y", ["plain.example:5000/x/y insecure"]),
        ("plain.example/x", ["plain.example/x"]),
        ("a.example/team/z:1", ["near.example/z", "b.example/mirrored/team/z"]),
        (
            f"a.example/team/z@{DIGEST}",
            ["near.example/z", "fixed.example/x/z insecure", "b.example/mirrored/team/z"],
        ),
        ("h.wild.example/x", ["h.wild.example/x"]),
        (f"h.wild.example/x@{DIGEST}", ["cache.example/wild/x", "h.wild.example/x"]),
    ],
)
def test_where_images_come_from(text: str, places: list[str]) -> None:
    assert endpoints(text) == places


def test_blocked() -> None:
    with pytest.raises(Refused, match=r"blocks a\.example"):
        endpoints("a.example/teams/z")


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.1.2.3", True),
        ("[::1]:5000", True),
        ("[::1]", True),
        ("localhost.example", False),
        ("10.0.0.1", False),
        ("127.0.0.1.example", False),
        ("[::2]:1", False),
    ],
)
def test_this_machine(host: str, *, local: bool) -> None:
    assert Endpoint(host=host, repository="x").is_loopback is local


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "registry = 7",
        "[[registry]]\n",
        "[[registry]]\nlocation = 7",
        '[[registry]]\nlocation = "a"\ninsecure = "yes"',
        '[[registry]]\nlocation="a"\nmirror=[7]',
    ],
)
def test_a_broken_file_is_named(text: str) -> None:
    with pytest.raises(Damaged, match="/etc/x"):
        parse_rules(text.encode(), where="/etc/x")


@given(st.binary(max_size=60))
def test_any_bytes_are_rules_or_damaged(data: bytes) -> None:
    with suppress(Damaged):
        parse_rules(data, where="x")


def test_a_persons_file_replaces_the_systems(tmp_path: Path) -> None:
    own = tmp_path / ".config" / "containers"
    (own / "registries.conf.d").mkdir(parents=True)
    (own / "registries.conf").write_text('[[registry]]\nlocation = "a.example"\n')
    (own / "registries.conf.d" / "x.conf").write_text(
        '[[registry]]\nlocation = "a.example"\nblocked = true\n'
    )
    found = {rule.prefix: rule for rule in read_rules({"HOME": str(tmp_path)})}
    assert found["a.example"].blocked


@pytest.mark.parametrize("host", ["127.0.example.org", "127.0.0.1x:5000", "127.0.0.1.example.org"])
def test_a_name_that_looks_like_this_machines_address_is_not_spoken_to_in_the_clear(
    host: str,
) -> None:
    assert not Endpoint(host=host, repository="system").allows_http
    assert Endpoint(host="127.0.0.1:5000", repository="system").allows_http
