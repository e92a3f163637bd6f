"""Marks, history, machine file, facts, NVRAM: read as written, and never a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import Damaged, RecipeError
from atoll.base.ids import TreeId
from atoll.base.text import is_one_line
from atoll.machine.boot.boot_entries import BootMenu, read_menu
from atoll.machine.boot.nvram import DEFAULT, LOADER, ONE_SHOT, clear_override, read_overrides
from atoll.machine.deployments.flags import (
    ClearFlag,
    Hold,
    LastNumbers,
    SetFlag,
    format_hold,
    parse_hold,
    read_flags,
    read_numbers,
    set_hold,
    set_last_numbers,
)
from atoll.machine.deployments.history import (
    HistoryEvent,
    RecordEvent,
    format_event,
    parse_event,
    read_history,
)
from atoll.machine.machine_file import MachineFile, parse_machine_file
from atoll.oci.system_label import (
    MAX_ESP,
    SystemLabel,
    compare_packages,
    format_system,
    parse_system,
)

if TYPE_CHECKING:
    from pathlib import Path

HOLD = Hold(deployment=3, version="2", why="a check failed", when=1_790_000_000)
TREE = TreeId("a" * 64)
TEXTS = st.text(max_size=20)
NUMBERS = st.none() | st.integers(1, 99)


def test_marks_are_read_as_set(tmp_path: Path) -> None:
    for operation in (
        SetFlag(path=tmp_path / "pinned/3"),
        SetFlag(path=tmp_path / "blessed/2"),
        set_hold(tmp_path, TREE, HOLD),
        set_last_numbers(tmp_path, LastNumbers(deployment=4, sequence=9)),
    ):
        operation.execute()
        operation.execute()
    (tmp_path / "pinned/.4.x").touch()
    flags = read_flags(tmp_path)
    assert flags.pinned == {3} and flags.blessed == {2} and flags.held == {TREE: HOLD}
    assert read_numbers(tmp_path) == LastNumbers(deployment=4, sequence=9)
    ClearFlag(path=tmp_path / "pinned/3").execute()
    ClearFlag(path=tmp_path / "pinned/3").execute()
    assert read_flags(tmp_path).pinned == frozenset()


def test_a_hold_that_cannot_be_read_holds(tmp_path: Path) -> None:
    (tmp_path / "held").mkdir()
    (tmp_path / "held" / TREE).write_bytes(b"{")
    assert "cannot be read" in read_flags(tmp_path).held[TREE].why


def test_the_history_survives_a_torn_line(tmp_path: Path) -> None:
    first = HistoryEvent(when=1, what="upgrade", deployment=2, was=1, name="hello", version="2")
    RecordEvent(state=tmp_path, event=first).execute()
    with (tmp_path / "history").open("ab") as file:
        file.write(b'{"when": 2, "wh')
    RecordEvent(state=tmp_path, event=HistoryEvent(when=3, what="cancel")).execute()
    assert [event.when for event in read_history(tmp_path)] == [1, 3]


@given(
    event=st.builds(
        HistoryEvent,
        when=st.integers(0, 1 << 40),
        what=TEXTS,
        deployment=NUMBERS,
        was=NUMBERS,
        name=TEXTS,
        version=TEXTS,
        tree=TEXTS,
        image=TEXTS,
    )
)
def test_events_are_read_as_written(event: HistoryEvent) -> None:
    line = format_event(event)
    assert line.count(b"\n") == 1 and parse_event(line) == event


@given(data=st.binary(max_size=80) | TEXTS.map(str.encode))
def test_garbage_is_told_and_no_traceback(data: bytes) -> None:
    parse_event(data)
    for parse in (
        lambda: parse_hold(data, where="x"),
        lambda: parse_system(data.decode(errors="replace"), where="x"),
    ):
        with pytest.raises(Damaged):
            parse()
    try:
        parse_machine_file(data, file="machine.toml")
    except RecipeError as error:
        assert "machine.toml" in error.message


LINES = TEXTS.filter(is_one_line)
"""What people are shown of a package."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXTS, below, max_size=3),
    max_leaves=8,
)


@given(
    document=st.fixed_dictionaries(
        {}, optional={"kernel": JSON, "esp": JSON, "packages": JSON, "format": JSON, "why": JSON}
    )
)
def test_documents_of_another_form_are_told(document: dict[str, object]) -> None:
    import json

    text = json.dumps(document)
    for parse in (
        lambda: parse_system(text, where="x"),
        lambda: parse_hold(text.encode(), where="x"),
    ):
        try:
            parse()
        except Damaged as error:
            assert "x" in error.message


@given(packages=st.dictionaries(LINES, LINES, max_size=5), esp=st.integers(0, MAX_ESP - 1))
def test_facts_are_read_as_written(packages: dict[str, str], esp: int) -> None:
    facts = SystemLabel(kernel="6.12", esp=esp, packages=packages)
    assert parse_system(format_system(facts), where="x") == facts


@given(before=st.dictionaries(TEXTS, TEXTS, max_size=5), after=st.dictionaries(TEXTS, TEXTS))
def test_package_changes_lead_from_one_to_the_other(
    before: dict[str, str], after: dict[str, str]
) -> None:
    changes = compare_packages(before, after)
    found = dict(before)
    for name, _ in changes.removed:
        del found[name]
    found |= dict(changes.added) | {name: version for name, _, version in changes.changed}
    assert found == after


def test_hold_text(tmp_path: Path) -> None:
    assert parse_hold(format_hold(HOLD), where="x") == HOLD
    assert parse_machine_file(b"schema = 1\n", file="x") == MachineFile()
    assert read_menu(tmp_path / "none", tmp_path / "none") == BootMenu()


def test_overrides_of_the_firmware_are_read(tmp_path: Path) -> None:
    for name, entry in ((DEFAULT, "atoll-1.conf"), (ONE_SHOT, "auto-reboot")):
        data = b"\7\0\0\0" + f"{entry}\0".encode("utf-16-le")
        (tmp_path / f"{name}-{LOADER}").write_bytes(data)
    default, once = read_overrides(tmp_path)
    assert (default.entry, once.entry) == ("atoll-1.conf", "auto-reboot")
    assert not clear_override(once) and once.path.exists()
    assert read_overrides(tmp_path / "none") == ()
