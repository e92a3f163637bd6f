"""Files that Atoll keeps or takes, as nobody wrote them: an error that says so, never another.

Each reader gets its own file with a value exchanged, cut, doubled or nested without end, and bytes
that are nothing at all.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import AtollError, Damaged
from atoll.base.fields import parse_json_fields
from atoll.cli.history import format_event
from atoll.debian.dpkg_database import parse_diversions, parse_owners, parse_status
from atoll.image.info import parse_image_info
from atoll.image.policy import parse_policy
from atoll.lock.serialize import parse_lock
from atoll.machine.deployment import parse_deployment, parse_origin
from atoll.machine.deployments.flags import parse_hold
from atoll.machine.deployments.history import parse_event
from atoll.machine.deployments.public_status import parse_public_status
from atoll.machine.deployments.sysroot import parse_booted
from atoll.machine.etc.merge_base import parse_merge_base
from atoll.machine.health.boot_attempts import parse_verdict
from atoll.machine.health.checks import parse_health
from atoll.machine.machine_file import parse_machine_file
from atoll.oci.system_label import parse_packages
from atoll.recipe.language.parse import parse_problems
from atoll.store.refs import parse_ref

if TYPE_CHECKING:
    from collections.abc import Callable

TREE = "ab" * 32
DEEP = 100_000
SAID = {
    "name": "hello",
    "version": "1",
    "kernel": "6.12",
    "args": ["quiet"],
    "title": None,
    "timeout": 3,
    "suite": "trixie",
    "components": ["main"],
    "architecture": "amd64",
    "architectures": [],
    "epoch": 1788000000,
    "homes": [],
    "initrd": "x",
    "var": {"tree": [], "state": ["/var/x"], "drop": []},
    "base": {"name": "server", "version": "3", "tree": TREE},
}
PUBLIC = {
    "format": 1,
    "when": 1,
    "booted": 2,
    "follows": "docker://x/y",
    "layers": [TREE],
    "deployments": [
        {
            "number": 2,
            "tree": TREE,
            "name": "n",
            "version": "v",
            "kernel": "k",
            "pair": TREE,
            "booted": True,
            "default": True,
            "staged": False,
            "pinned": False,
            "blessed": True,
            "fallback": False,
            "flaw": "",
            "hold": {"deployment": 2, "version": "v", "why": "it failed", "when": 1},
        }
    ],
    "entries": [{"entry": "atoll-7.conf", "deployment": 2}],
    "foreign": [],
    "damaged": [],
    "no_way_back": [],
    "key_slots": ["passphrase"],
    "signed": ["kernel"],
    "unsigned": ["boot loader"],
}
EVENT = {
    "when": 1790000000,
    "what": "upgrade",
    "deployment": 2,
    "was": 1,
    "name": "hello",
    "version": "2",
    "tree": TREE,
    "image": "docker://x/y",
}
DEPLOYMENT = {
    "format": 1,
    "number": 4,
    "algorithm": "fsverity-sha256-4096",
    "tree": TREE,
    "name": "hello",
    "version": "1.2",
    "kernel": "6.12.48-amd64",
    "pair": TREE,
}
RECORD = {
    "format": 1,
    "source": 1,
    "rules": [["a*", "image"]],
    "entries": {
        "": ["directory", 493, 0, 0, "", {}],
        "a": ["file", 420, 0, 0, TREE, {"user.x": "eA=="}],
    },
}
REF = {
    "algorithm": "fsverity-sha256-4096",
    "created": 1,
    "format": 1,
    "name": "a",
    "tree": TREE,
    "version": "1",
}

JSON_FILES: dict[str, tuple[Any, Callable[[bytes], object]]] = {
    "deployment.json": (DEPLOYMENT, lambda data: parse_deployment(data, where="X")),
    "booted": ({"deployment": 2, "tree": TREE}, parse_booted),
    "image.json": (SAID, lambda data: parse_image_info(data, where="X")),
    "packages.json": (
        [["bash", "5.2", "amd64"]],
        lambda data: parse_packages(b'{"architecture": "amd64"}', data, where="X"),
    ),
    "policy.json": (
        {"format": 1, "keep": 3, "etc": [["ssh/**", "image"]]},
        parse_policy,
    ),
    "a ref": (REF, lambda data: parse_ref(data, where="X")),
    "a hold": (
        {"format": 1, "deployment": 4, "version": "2", "why": "x", "when": 1},
        lambda data: parse_hold(data, where="X"),
    ),
    "merged-from": (RECORD, lambda data: parse_merge_base(data, where="X")),
    "status.json": (PUBLIC, lambda data: parse_public_status(data, where="X")),
    "verdict": ({"format": 1, "entry": 3, "evidence": True, "why": "x"}, parse_verdict),
    "health.json": (
        {"format": 1, "when": 1, "checks": [{"name": "a", "passed": True, "detail": ""}]},
        parse_health,
    ),
    "history": (EVENT, lambda data: (found := parse_event(data)) and format_event(found)),
}
STATUS = """Package: a
Status: install ok installed
Architecture: amd64
Version: 1

Package: b
Status: install ok installed
Architecture: all
Version: 2
"""
DIVERSIONS = "/a\n/b\nc\n/d\n/e\n:\n"
LOCK = f"""schema = 1
architecture = "amd64"
epoch = 1763942400
wishes = "{TREE}"
asked = ["install curl"]
packages = [
    {{ name = "a", architecture = "all", version = "1", size = 3, sha256 = "{TREE}", path = "p" }},
]
[users]
man = 6
"""
RECIPE = """schema = 1
from = "debian:trixie"
[image]
name = "hello"
version = "1"
[packages]
install = ["bash"]
[kernel]
args = ["quiet"]
[[user]]
name = "ann"
[[file]]
path = "/etc/motd"
text = "x"
mode = "0644"
[variant.small.packages]
remove = ["bash"]
"""
TEXT_FILES: dict[str, tuple[str, Callable[[str], object]]] = {
    "status": (STATUS, parse_status),
    "diversions": (DIVERSIONS, lambda text: list(parse_diversions(text))),
    "lists": (DIVERSIONS, lambda text: parse_owners([("a", text)], text)),
    "lock": (LOCK, lambda text: parse_lock(text, file="X")),
    "recipe": (RECIPE, lambda text: parse_problems(text, file="X", load=lambda _: RECIPE)),
    "origin.toml": ('image = "docker://x/y"\n', lambda text: parse_origin(_bytes(text), where="X")),
    "machine.toml": (
        "schema = 1\n[keep]\ndeployments = 3\n",
        lambda text: parse_machine_file(_bytes(text), file="X"),
    ),
}

ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        1 << 63,
        10**30,
        1e300,
        0.5,
        "",
        "x",
        "\x1b[2J",
        "a\nb",
        "../..",
        "\ud800",
        "x" * 100_000,
        [],
        {},
        [[]],
        {"": {}},
        [None],
        "9" * 5000,
        TREE,
    ]
)
ODD_TEXT = st.sampled_from(
    [
        "",
        "1e999",
        "nan",
        "inf",
        "-1",
        "9" * 5000,
        "true",
        "[]",
        "{}",
        '""',
        "[[1]]",
        "{a=1}",
        "1979-05-27T07:32:00Z",
        "0x7fffffffffffffffffff",
        '"\\u0000"',
        '"\\u001b[2J"',
        '"../../x"',
        "'''",
        '"""',
        "[a]",
        "a.b.c=1",
        "\n",
        "\x00",
        "\x1b",
        "\udce9",
        "#",
    ]
)


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def places(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    below: list[tuple[object, object]] = []
    if isinstance(value, dict):
        below = list(value.items())
    elif isinstance(value, list):
        below = list(enumerate(value))
    return [path, *(found for key, each in below for found in places(each, (*path, key)))]


def exchanged(value: Any, path: tuple[object, ...], new: object) -> object:
    if not path:
        return new
    key, *rest = path
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = exchanged(value[key], tuple(rest), new)
    return copy


def is_told(read: Callable[[Any], object], data: object) -> None:
    """The reader takes it, or says what is wrong."""
    try:
        read(data)
    except AtollError as error:
        assert error.message


@pytest.mark.parametrize("name", JSON_FILES)
@given(data=st.data())
def test_a_value_exchanged_in_a_json_file_is_told(name: str, data: st.DataObject) -> None:
    document, read = JSON_FILES[name]
    path = data.draw(st.sampled_from(places(document)))
    is_told(read, json.dumps(exchanged(document, path, data.draw(ODD))).encode())


@pytest.mark.parametrize("name", JSON_FILES)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[" * DEEP,
        b'{"a":' * DEEP,
        b"9" * 5000,
        b"NaN",
        b'{"format": 1e999}',
        b'{"format": 1, "format": 1}',
        b'"\\ud800"',
        b"\x00" * 100,
        b" " * (1 << 20),
    ],
    ids=lambda data: ascii(data[:12]),
)
def test_what_is_no_document_at_all_is_told(name: str, data: bytes) -> None:
    _, read = JSON_FILES[name]
    is_told(read, data)


@pytest.mark.parametrize("name", JSON_FILES)
@given(data=st.binary(max_size=200))
def test_bytes_are_told(name: str, data: bytes) -> None:
    is_told(JSON_FILES[name][1], data)


@pytest.mark.parametrize("name", JSON_FILES)
def test_the_file_itself_is_taken(name: str) -> None:
    document, read = JSON_FILES[name]
    read(json.dumps(document).encode())


@pytest.mark.parametrize("name", TEXT_FILES)
@given(data=st.data())
def test_a_text_file_with_odd_words_is_told(name: str, data: st.DataObject) -> None:
    text, read = TEXT_FILES[name]
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 30)))
        text = text[:start] + data.draw(ODD_TEXT | st.just(text[start:end] * 2)) + text[end:]
    is_told(read, text)


@pytest.mark.parametrize("name", TEXT_FILES)
def test_each_line_may_be_missing(name: str) -> None:
    text, read = TEXT_FILES[name]
    read(text)
    lines = text.splitlines(keepends=True)
    for number in range(len(lines)):
        is_told(read, "".join(lines[:number] + lines[number + 1 :]))
        is_told(read, "".join(lines[:number]))


@pytest.mark.parametrize("name", ["lock", "recipe", "origin.toml", "machine.toml"])
@pytest.mark.parametrize(
    "text",
    [
        "a=" + "[" * DEEP,
        "a=" + "{a=" * DEEP,
        ".".join("a" * 20_000) + "=1",
        "[" + ".".join("a" * 20_000) + "]",
        "a=" + "9" * 100_000,
        "a=1e" + "9" * 100_000,
    ],
    ids=["lists", "tables", "dotted", "header", "digits", "exponent"],
)
def test_toml_without_end_is_told(name: str, text: str) -> None:
    for begin in ("", "schema = 1\n"):
        is_told(TEXT_FILES[name][1], begin + text)


def test_an_error_names_file_and_key() -> None:
    with pytest.raises(Damaged, match=r"^X: deployments\[0\]\.number: must be an integer"):
        spoiled = exchanged(PUBLIC, ("deployments", 0, "number"), "two")
        parse_public_status(json.dumps(spoiled).encode(), where="X")


@pytest.mark.parametrize("text", ["a\x1b[2J", "a\nb", "\u202ea", "x" * 5000])
def test_a_line_for_people_is_one_line(text: str) -> None:
    fields = parse_json_fields(json.dumps({"name": text}), file="X")
    with pytest.raises(Damaged, match=r"^X: name: "):
        fields.line("name")
