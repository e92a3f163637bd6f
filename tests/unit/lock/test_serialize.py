"""The text of a lock: the reader accepts what the writer writes, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import NotFound, RecipeError
from atoll.base.ids import TreeId
from atoll.debian.pin import Pin, PinnedArchive
from atoll.lock.model import Lock, LockedBase
from atoll.lock.serialize import format_lock, parse_lock, read_lock

GOLDEN = Path(__file__).parents[2] / "golden/lock/atoll.lock"
HEX = "0123456789abcdef" * 4
TRIXIE = PinnedArchive(
    name="trixie",
    uri="http://mirror.example/debian",
    suite="trixie",
    components=("main", "contrib"),
    release=HEX,
)
LOCK = Lock(
    variant="kde",
    architecture="amd64",
    epoch=1_780_000_000,
    wishes=HEX,
    asked=("base DebianBase trixie", "install curl"),
    base=LockedBase(reference="store:base", manifest="", tree=TreeId(HEX)),
    archives=(TRIXIE,),
    packages=(
        Pin(
            name="curl",
            architecture="amd64",
            version="1:8.1-1",
            size=10,
            sha256=HEX,
            archive="trixie",
            path="pool/c/curl_8.1-1_amd64.deb",
            automatic=True,
        ),
        Pin(
            name="mine",
            architecture="all",
            version="1",
            size=20,
            sha256=HEX,
            archive="",
            path="./my own.deb",
            stage=2,
        ),
    ),
    inputs=(("files/motd", HEX), ("https://x.example/a b", HEX)),
    users=(("_apt", 42), ("ann", 1000)),
    groups=(("adm", 4),),
    tools=(("atoll", "0.1"), ("zstd", "1.5.7")),
    tree=TreeId(HEX),
)


def test_the_text_of_a_lock() -> None:
    assert format_lock(LOCK) == GOLDEN.read_text()
    assert read_lock(GOLDEN) == LOCK


digests = st.text("0123456789abcdef", min_size=64, max_size=64)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
words = st.from_regex(r"[a-z0-9][a-z0-9+.~:-]{0,8}", fullmatch=True)
numbers = st.integers(min_value=0, max_value=(1 << 63) - 1)


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    archives = draw(
        st.lists(
            st.builds(
                PinnedArchive,
                name=words,
                uri=texts,
                suite=texts,
                components=st.lists(texts, max_size=2).map(tuple),
                release=digests,
            ),
            max_size=3,
            unique_by=lambda one: one.name,
        )
    )
    pins = st.builds(
        Pin,
        name=words,
        architecture=words,
        version=words,
        size=numbers,
        sha256=digests,
        archive=st.sampled_from(["", *(one.name for one in archives)]),
        path=texts,
        stage=st.integers(1, 9),
        automatic=st.booleans(),
    )
    some = st.lists(pins, max_size=4, unique_by=lambda pin: (pin.name, pin.architecture)).map(tuple)

    def pairs(values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
        return st.dictionaries(texts, values, max_size=3).map(lambda found: tuple(found.items()))

    bases = st.builds(LockedBase, reference=texts, manifest=texts, tree=digests.map(TreeId))
    return draw(
        st.builds(
            Lock,
            variant=st.none() | texts,
            architecture=texts,
            epoch=numbers,
            wishes=digests,
            asked=st.lists(texts, max_size=3).map(tuple),
            base=st.none() | bases,
            archives=st.just(tuple(archives)),
            packages=some,
            tool_pins=some,
            inputs=pairs(digests),
            users=pairs(numbers),
            groups=pairs(numbers),
            tools=pairs(texts),
            tree=st.none() | digests.map(TreeId),
        )
    )


@given(locks())
def test_what_is_written_is_read_again(lock: Lock) -> None:
    assert parse_lock(format_lock(lock), file="x") == lock


@given(st.text())
def test_no_text_makes_the_parser_fail_otherwise(text: str) -> None:
    with pytest.raises(RecipeError):
        parse_lock(text, file="x")


@given(st.data())
def test_a_damaged_lock_is_a_lock_or_an_error(data: st.DataObject) -> None:
    text = format_lock(LOCK)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    broken = text[:start] + data.draw(st.text(max_size=8)) + text[end:]
    try:
        parse_lock(broken, file="x")
    except RecipeError as error:
        assert str(error.file) == "x"


def mistake(old: str, new: str) -> str:
    text = format_lock(LOCK)
    assert old in text
    with pytest.raises(RecipeError) as caught:
        parse_lock(text.replace(old, new, 1), file="atoll.lock")
    return caught.value.message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema = 1", "schema = 2", "atoll.lock:3: schema: this Atoll reads locks of schema 1"),
        ("epoch = 1780000000", "epoch = -1", "must be a whole number that is not negative"),
        ("epoch = 1780000000\n", "", "atoll.lock: epoch: is missing"),
        ("wishes =", "wish =", "atoll.lock:7: wish: unknown key"),
        ("size = 10", "size = true", "packages[0].size: must be an integer, not true or false"),
        ("size = 10", "bulk = 10", "atoll.lock:18: packages[0].bulk: unknown key"),
        ('archive = "trixie"', 'archive = "sid"', "no archive of that name: sid"),
        ('name = "mine"', 'name = "-o"', "packages[1].name: '-o' cannot be in a lock"),
        ("stage = 2", "stage = 0", "packages[1].stage: must be 1 or more"),
        (f'tree = "{HEX}"', 'tree = "abc"', "tree: must be 64 hex digits"),
        ('architecture = "all"', 'architecture = "all", name = "x"', "is not valid TOML"),
    ],
)
def test_a_mistake_is_told_with_its_place(old: str, new: str, message: str) -> None:
    assert message in mistake(old, new)


def test_a_package_is_in_a_lock_once() -> None:
    twice = replace(LOCK, packages=(LOCK.packages[0], LOCK.packages[0]))
    with pytest.raises(RecipeError, match="curl for amd64 is there twice"):
        parse_lock(format_lock(twice), file="x")


def test_a_lock_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no lock"):
        read_lock(tmp_path / "atoll.lock")
    (tmp_path / "atoll.lock").write_bytes(b"\xff")
    with pytest.raises(RecipeError, match="is not UTF-8"):
        read_lock(tmp_path / "atoll.lock")
