"""What policy keeps, what a rollback chooses, what is cleared up: for machines of every shape."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import NotFound, NothingToDo, UsageError
from atoll.base.ids import TreeId
from atoll.machine.boot.boot_entries import BootMenu, MenuEntry
from atoll.machine.boot.boot_entry import BootEntry, EntryName, format_entry_name, loader_order
from atoll.machine.deployment import Deployment
from atoll.machine.deployments.flags import Flags, Hold
from atoll.machine.deployments.history import HistoryEvent
from atoll.machine.deployments.retention import (
    choose_kept,
    choose_leftovers,
    choose_obsolete,
    choose_removal,
    choose_superseded,
    redundant_entries,
    required_deployments,
)
from atoll.machine.deployments.state import DeploymentState, MachineState, make_state
from atoll.machine.rollback_choice import choose_rollback, left_deployments, parse_moment

NOW = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)  # noqa: UP017
NUMBERS = st.integers(1, 6)


def sound(_: DeploymentState) -> str:
    return ""


def deployment(number: int) -> Deployment:
    return Deployment(
        number=number,
        tree=TreeId(f"{number:064x}"),
        name="hello",
        version=f"v{number}",
        kernel="6",
        pair=f"{number % 3:064x}",
    )


def menu_entry(name: EntryName, number: int) -> MenuEntry:
    entry = BootEntry(
        name=name,
        title="t",
        linux=f"/atoll/{deployment(number).pair}/linux",
        initrd="/i",
        options=(f"atoll.deployment={number}",),
    )
    return MenuEntry(name=name, deployment=number, entry=entry)


@st.composite
def states(draw: st.DrawFn) -> MachineState:
    numbers = draw(st.lists(NUMBERS, unique=True, min_size=1))
    tries = st.sampled_from([(None, 0), (3, 0), (1, 2), (0, 3), (0, 1)])
    owners = draw(st.lists(st.tuples(st.sampled_from(numbers), tries), max_size=8))
    entries = [
        menu_entry(EntryName(sequence=place, tries_left=left, tries_used=used), number)
        for place, (number, (left, used)) in enumerate(owners, 1)
    ]
    order = loader_order([each.name for each in entries])
    entries.sort(key=lambda each: order.index(each.name))
    held = draw(st.sets(st.sampled_from(numbers)))
    hold = Hold(deployment=1, version="", why="x", when=0)
    flags = Flags(
        pinned=frozenset(draw(st.sets(st.sampled_from(numbers)))),
        blessed=frozenset(draw(st.sets(st.sampled_from(numbers)))),
        held={deployment(number).tree: hold for number in held},
    )
    ordered = tuple(deployment(number) for number in sorted(numbers, reverse=True))
    booted = draw(st.none() | st.sampled_from(numbers))
    return make_state(ordered, BootMenu(entries=tuple(entries)), flags, booted=booted)


@given(state=states(), keep=st.integers(1, 6))
def test_policy_never_takes_what_is_needed(state: MachineState, keep: int) -> None:
    kept = choose_kept(state, keep)
    assert required_deployments(state) <= kept
    assert len(kept) <= max(keep, len(required_deployments(state)))
    gone = {*choose_leftovers(state), *choose_superseded(state)}
    always = {
        each.number for each in state.deployments if each.booted or each.default or each.pinned
    }
    assert not gone & always
    fallback = {each.number for each in state.deployments if each.fallback}
    assert not set(choose_leftovers(state)) & fallback


@pytest.mark.parametrize("shown", [(), (3,)])
def test_policy_takes_nothing_while_the_menu_is_not_this_machines(shown: tuple[int, ...]) -> None:
    """That of an ESP which was formatted or changed: without entries others seem unwanted."""
    menu = BootMenu(
        entries=tuple(menu_entry(EntryName(sequence=number), number) for number in shown)
    )
    flags = Flags(pinned=frozenset(), blessed=frozenset({1, 2}), held={})
    found = make_state(tuple(map(deployment, (3, 2, 1))), menu, flags, booted=2)
    assert choose_obsolete(found, 3) == frozenset()


@given(state=states(), pairs=st.sets(st.integers(0, 5)))
def test_what_remains_has_its_entries_and_kernels(state: MachineState, pairs: set[int]) -> None:
    gone = choose_leftovers(state)
    there = [f"{number:064x}" for number in pairs]
    removal = choose_removal(state, gone, entries=redundant_entries(state), pairs=there)
    left = [
        each for each in state.menu.entries if format_entry_name(each.name) not in removal.entries
    ]
    assert {each.deployment for each in left} == {
        each.deployment for each in state.menu.entries if each.deployment not in gone
    }
    assert not {each.pair for each in left} & set(removal.pairs)
    # What boots next stays what boots next.
    assert [each.deployment for each in left][:1] == [
        each.deployment for each in state.menu.entries if each.deployment not in gone
    ][:1]


@given(state=states())
def test_going_back_never_chooses_what_boots_next(state: MachineState) -> None:
    try:
        found = choose_rollback(state, None, (), NOW, sound)
    except NotFound:
        assert not any(
            each.blessed and not each.default and state.menu.entries_of(each.number)
            for each in state.deployments
        )
        return
    assert found.blessed and not found.default
    if found.held:
        others = [
            each
            for each in state.deployments
            if each.blessed and not each.default and state.menu.entries_of(each.number)
        ]
        assert all(each.held for each in others)
    assert found not in left_deployments(state, found.number)


def two(booted: int | None = None) -> MachineState:
    entries = (menu_entry(EntryName(sequence=2), 2), menu_entry(EntryName(sequence=1), 1))
    return make_state(
        (deployment(2), deployment(1)), BootMenu(entries=entries), Flags(), booted=booted
    )


def test_a_day_means_what_ran_at_its_end() -> None:
    then = int(NOW.timestamp())
    events = (
        HistoryEvent(when=then - 3 * 86400, what="upgrade", deployment=1, was=None),
        HistoryEvent(when=then - 60, what="upgrade", deployment=2, was=1),
    )
    assert choose_rollback(two(), "yesterday", events, NOW, sound).number == 1
    assert choose_rollback(two(), "2026-11-22", events, NOW, sound).number == 1
    assert choose_rollback(two(), "v1", events, NOW, sound).number == 1
    assert choose_rollback(two(), "1", events, NOW, sound).number == 1
    with pytest.raises(NothingToDo):
        choose_rollback(two(), "2026-11-24", events, NOW, sound)
    with pytest.raises(NotFound, match="2026-11-01"):
        choose_rollback(two(), "2026-11-01", events, NOW, sound)
    with pytest.raises(UsageError, match="in the future"):
        choose_rollback(two(), "2027-01-01", events, NOW, sound)
    with pytest.raises(NotFound, match=r"there is no deployment or version 9") as caught:
        choose_rollback(two(), "9", events, NOW, sound)
    assert "2 (v2), 1 (v1)" in (caught.value.hint or "")


@given(text=st.text(max_size=20))
def test_a_wish_is_a_day_or_is_none(text: str) -> None:
    try:
        moment = parse_moment(text, NOW)
    except UsageError:
        return
    assert moment is None or moment.date() <= NOW.date()
