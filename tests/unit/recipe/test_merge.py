"""Merging fragments: each kind of value, and properties of all merges."""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.recipe.language.diagnostics import Diagnostics, Location, RecipeText
from atoll.recipe.language.merge import Fragment, MergedTable, merge
from atoll.recipe.language.schema import TOP
from atoll.recipe.language.schema_model import KeyRule, TableRule, ValueKind

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS = st.sampled_from(["a", "b", "c", "a=1", "b/sid"])


def value_of(rule: KeyRule) -> st.SearchStrategy[object]:
    match rule.kind:
        case ValueKind.TEXT:
            return WORDS
        case ValueKind.NUMBER:
            return st.integers(0, 3)
        case ValueKind.BOOLEAN:
            return st.booleans()
        case ValueKind.TEXTS:
            return st.lists(WORDS, max_size=3, unique_by=rule.item_key)
        case ValueKind.MAP:
            return st.dictionaries(WORDS, WORDS, max_size=2)


@st.composite
def tables(draw: st.DrawFn, rule: TableRule) -> dict[str, Any]:
    """A valid table, without conflicts within itself."""
    table: dict[str, Any] = {}
    for key in rule.keys:
        if key.name != rule.row and not draw(st.integers(0, 2)):
            table[key.name] = draw(value_of(key))
    for key in rule.keys:
        for rival in key.conflicts:
            if key.name in table and rival in table:
                if key.kind is ValueKind.TEXTS:
                    mine = {key.item_key(item) for item in table[key.name]}
                    table[rival] = [item for item in table[rival] if key.item_key(item) not in mine]
                else:
                    del table[rival]
    if rule.row:
        table[rule.row] = draw(WORDS)
    for inner in rule.tables:
        if draw(st.integers(0, 3)):
            continue
        if inner.row:
            name = itemgetter(inner.row)
            rows = draw(st.lists(tables(inner), max_size=2, unique_by=name))
            table[inner.name] = rows
        else:
            table[inner.name] = draw(tables(inner))
    return table


def merged(*written: dict[str, Any]) -> MergedTable:
    locations = [
        Location(RecipeText(str(number), str(number), ""), ()) for number in range(len(written))
    ]
    fragments = [Fragment(*pair) for pair in zip(locations, written, strict=True)]
    return merge(fragments, locations[0], Diagnostics())


def values_of(table: MergedTable) -> dict[str, Any]:
    """The values of a merged table, without locations."""
    values: dict[str, Any] = {}
    for key in table.rule.keys:
        placed = table.values.get(key.name, [])
        match key.kind:
            case ValueKind.TEXTS:
                values[key.name] = [entry.value for entry in placed]
            case ValueKind.MAP:
                values[key.name] = {entry.name: entry.value for entry in placed}
            case _:
                values[key.name] = placed[-1].value if placed else None
    values |= {name: values_of(inner) for name, inner in table.tables.items()}
    values |= {name: [values_of(row) for row in rows] for name, rows in table.rows.items() if rows}
    return values


def all_tables(table: MergedTable) -> Iterator[MergedTable]:
    yield table
    for inner in (*table.tables.values(), *(row for rows in table.rows.values() for row in rows)):
        yield from all_tables(inner)


@settings(max_examples=25)
@given(tables(TOP))
def test_what_is_said_twice_is_said_once(table: dict[str, Any]) -> None:
    assert values_of(merged(table, table)) == values_of(merged(table))


@settings(max_examples=25)
@given(tables(TOP))
def test_an_empty_fragment_changes_nothing(table: dict[str, Any]) -> None:
    assert values_of(merged(table, {})) == values_of(merged({}, table)) == values_of(merged(table))


@settings(max_examples=25)
@given(tables(TOP), st.sets(st.sampled_from(TOP.names)))
def test_tables_may_be_spread_over_files(table: dict[str, Any], first: set[str]) -> None:
    one = {name: value for name, value in table.items() if name in first}
    other = {name: value for name, value in table.items() if name not in first}
    assert values_of(merged(one, other)) == values_of(merged(table))


@settings(max_examples=25)
@given(st.lists(tables(TOP), min_size=1, max_size=4))
def test_nothing_contradicts_and_nothing_is_there_twice(written: list[dict[str, Any]]) -> None:
    for table in all_tables(merged(*written)):
        for key in table.rule.keys:
            if key.kind not in (ValueKind.TEXTS, ValueKind.MAP):
                for rival in key.conflicts:
                    assert not (table.has(key.name) and table.has(rival))
                continue
            same = [
                entry.name or key.item_key(str(entry.value))
                for entry in table.values.get(key.name, [])
            ]
            assert max(Counter(same).values(), default=1) == 1
            for name in key.conflicts:
                other = table.rule.find_key(name)
                assert other is not None
                assert not {other.item_key(item) for item in table.texts(name)} & set(same)
        for name, rows in table.rows.items():
            rule = table.rule.find_table(name)
            assert rule is not None
            names = [row.text(str(rule.row)) for row in rows]
            assert len(names) == len(set(names))


@settings(max_examples=25)
@given(st.lists(tables(TOP), min_size=1, max_size=4))
def test_the_last_word_holds(written: list[dict[str, Any]]) -> None:
    table = merged(*written)
    last = written[-1]
    for rule in TOP.tables:
        if rule.row or rule.name not in last:
            continue
        inner = table.within(rule.name)
        for key in rule.keys:
            if key.name not in last[rule.name]:
                continue
            values = last[rule.name][key.name]
            match key.kind:
                case ValueKind.TEXTS:
                    assert set(values) <= set(inner.texts(key.name))
                case ValueKind.MAP:
                    assert values.items() <= dict(inner.pairs(key.name)).items()
                case _:
                    assert inner.values[key.name][-1].value == values


@settings(max_examples=25)
@given(st.lists(tables(TOP), min_size=1, max_size=4))
def test_each_value_stands_where_it_says(written: list[dict[str, Any]]) -> None:
    for table in all_tables(merged(*written)):
        for placed in (entry for entries in table.values.values() for entry in entries):
            here: Any = written[int(placed.location.source.name)]
            for part in placed.location.key:
                here = here[part]
            assert here == placed.value


def values(*written: dict[str, Any]) -> dict[str, Any]:
    return values_of(merged(*written))


def test_scalars_and_lists() -> None:
    got = values(
        {"image": {"name": "a", "version": "1"}, "kernel": {"args": ["quiet", "x"]}},
        {"image": {"version": "2"}, "kernel": {"args": ["x", "y"]}},
    )
    assert got["image"]["name"] == "a"
    assert got["image"]["version"] == "2"
    assert got["kernel"]["args"] == ["quiet", "x", "y"]


def test_a_package_at_another_version_takes_the_place_of_the_earlier_word() -> None:
    packages = values(
        {"packages": {"install": ["a", "htop", "b"]}},
        {"packages": {"install": ["htop=3"]}},
    )["packages"]
    assert packages["install"] == ["a", "htop=3", "b"]


def test_files_of_packages_are_told_apart() -> None:
    packages = values({"packages": {"install": ["./a.deb", "./b.deb", "../b.deb"]}})["packages"]
    assert packages["install"] == ["./a.deb", "./b.deb", "../b.deb"]


def test_remove_takes_out_of_install_and_the_other_way_round() -> None:
    first = {"packages": {"install": ["htop=3", "vim"], "remove": ["nano"]}}
    packages = values(first, {"packages": {"install": ["nano"], "remove": ["htop"]}})["packages"]
    assert packages["install"] == ["vim", "nano"]
    assert packages["remove"] == ["htop"]


def test_units_change_sides() -> None:
    units = values(
        {"units": {"enable": ["a.service", "b.service"], "user": {"enable": ["a.service"]}}},
        {"units": {"disable": ["a.service"]}},
        {"units": {"mask": ["a.service"]}},
    )["units"]
    assert (units["enable"], units["disable"], units["mask"]) == (["b.service"], [], ["a.service"])
    assert units["user"]["enable"] == ["a.service"]


def test_rows_merge_by_name_and_path() -> None:
    got = values(
        {
            "user": [{"name": "ada", "groups": ["sudo"], "uid": 1000}, {"name": "bob"}],
            "file": [{"path": "/etc/a", "text": "a", "mode": "0600"}],
        },
        {
            "user": [{"name": "cy"}, {"name": "ada", "groups": ["adm"], "gecos": "Ada"}],
            "file": [{"path": "/etc/a", "source": "a"}],
        },
    )
    assert [user["name"] for user in got["user"]] == ["ada", "bob", "cy"]
    assert got["user"][0]["groups"] == ["sudo", "adm"]
    assert (got["user"][0]["uid"], got["user"][0]["gecos"]) == (1000, "Ada")
    file = got["file"][0]
    assert (file["text"], file["source"], file["mode"]) == (None, "a", "0600")


def test_a_link_needs_no_mode_any_more() -> None:
    got = values(
        {"file": [{"path": "/etc/a", "text": "a", "mode": "0600"}]},
        {"file": [{"path": "/etc/a", "link": "b"}]},
    )
    assert (got["file"][0]["link"], got["file"][0]["mode"]) == ("b", None)


def test_maps_grow_by_name() -> None:
    got = values(
        {"packages": {"sources": {"a": "x", "b": "y"}}},
        {"packages": {"sources": {"b": "z", "c": "x"}}},
    )["packages"]["sources"]
    assert list(got.items()) == [("a", "x"), ("b", "z"), ("c", "x")]


def test_later_patterns_of_etc_come_first() -> None:
    got = values(
        {"etc": {"ssh/**": "local", "b": "image"}}, {"etc": {"ssh/a": "merge", "b": "local"}}
    )
    assert list(got["etc"].items()) == [("ssh/a", "merge"), ("b", "local"), ("ssh/**", "local")]
