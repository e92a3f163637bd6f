"""What an automatic update may do, for every combination of facts and policy."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.machine.auto.decide import (
    MEGABYTE,
    AutoFacts,
    AutoStep,
    Inhibitor,
    Login,
    check_reserve,
    plan_auto,
)
from atoll.recipe.model import Update

GOOD = AutoFacts(free=10_000 * MEGABYTE, metered=False)
REBOOT = Update(auto="reboot")
ANN = Login(user="ann", where="tty2")
BURNS = Inhibitor(who="brasero", why="burning a disc")

texts = st.text(max_size=5)
facts = st.builds(
    AutoFacts,
    boots_next=texts,
    unconfirmed=st.sampled_from(["", "hello 2"]),
    metered=st.sampled_from([None, True, False]),
    on_battery=st.booleans(),
    load=st.floats(0, 3),
    logins=st.lists(st.builds(Login, user=texts), max_size=2).map(tuple),
    inhibitors=st.lists(st.builds(Inhibitor, who=texts, why=texts), max_size=2).map(tuple),
    free=st.integers(0, 2000 * MEGABYTE),
    uptime=st.floats(0, 4000),
    unknown=st.lists(texts, max_size=1).map(tuple),
)
updates = st.builds(
    Update,
    auto=st.sampled_from(["none", "check", "download", "stage", "reboot"]),
    reboot_window=st.sampled_from([None, "Sun 04:00"]),
    metered=st.booleans(),
    battery=st.booleans(),
    reserve=st.integers(0, 1500),
)


@pytest.mark.parametrize(
    ("auto", "step"),
    [
        ("none", AutoStep.NOTHING),
        ("check", AutoStep.CHECK),
        ("download", AutoStep.DOWNLOAD),
        ("stage", AutoStep.STAGE),
        ("reboot", AutoStep.STAGE),
    ],
)
def test_where_nothing_is_against_it_the_policy_decides(auto: str, step: AutoStep) -> None:
    decision = plan_auto(GOOD, Update(auto=auto))
    assert decision.step is step
    assert decision.reboot == (auto == "reboot")
    assert bool(decision.reasons) == (auto == "none")


@pytest.mark.parametrize(
    ("changed", "step", "words"),
    [
        ({"metered": True}, AutoStep.NOTHING, "metered"),
        ({"on_battery": True}, AutoStep.CHECK, "battery"),
        ({"free": 100 * MEGABYTE}, AutoStep.CHECK, "only 100 MB are free"),
        ({"unconfirmed": "hello 2"}, AutoStep.NOTHING, "hello 2 waits for: atoll confirm"),
        ({"logins": (ANN,)}, AutoStep.STAGE, "ann is logged in (tty2)"),
        ({"inhibitors": (BURNS,)}, AutoStep.STAGE, "brasero asks not to shut down: burning"),
        ({"load": 1.5}, AutoStep.STAGE, "busy: a load of 1.5 per processor"),
        ({"uptime": 125.0}, AutoStep.STAGE, "started 2 minutes ago"),
        ({"unknown": ("nobody knows",)}, AutoStep.STAGE, "nobody knows"),
    ],
)
def test_each_fact_alone_holds_back_what_it_must(
    changed: dict[str, object], step: AutoStep, words: str
) -> None:
    found = replace(GOOD, **changed)  # type: ignore[arg-type]
    decision = plan_auto(found, REBOOT)
    assert decision.step is step
    assert any(words in each.text for each in decision.reasons)
    # What is staged needs no network and no space, so these two do not keep it from booting.
    assert decision.reboot == (changed.keys() <= {"metered", "free"})


def test_the_policy_can_allow_it() -> None:
    found = replace(GOOD, metered=True, on_battery=True, free=0)
    decision = plan_auto(found, Update(auto="reboot", metered=True, battery=True, reserve=0))
    assert decision.step is AutoStep.STAGE and decision.reboot and not decision.reasons


def test_a_connection_that_nobody_knows_is_used() -> None:
    assert plan_auto(replace(GOOD, metered=None), REBOOT).step is AutoStep.STAGE


def test_a_window_for_reboots_is_the_only_time_for_them() -> None:
    update = Update(auto="reboot", reboot_window="Sun 04:00")
    before = plan_auto(GOOD, update)
    assert not before.reboot and before.reasons[0].text == "it reboots at: Sun 04:00"
    assert before.step is AutoStep.STAGE and not before.held_back
    assert plan_auto(GOOD, update, reboot_time=True).reboot


def test_a_download_leaves_the_reserve_free() -> None:
    found = replace(GOOD, free=1000 * MEGABYTE)
    update = Update(auto="stage", reserve=512)
    assert check_reserve(found, update, needed=488 * MEGABYTE, title="hello 2") is None
    reason = check_reserve(found, update, needed=489 * MEGABYTE, title="hello 2")
    assert reason is not None and reason.limit is AutoStep.CHECK
    assert reason.text == "hello 2 would leave 511 MB free, and the machine keeps 512 MB free"


@given(facts, updates, st.sampled_from([None, True, False]))
def test_a_decision_keeps_its_promises(
    found: AutoFacts, update: Update, reboot_time: bool | None
) -> None:
    decision = plan_auto(found, update, reboot_time=reboot_time)
    if decision.reboot:
        assert update.auto == "reboot"
        assert not (found.logins or found.inhibitors or found.unknown or found.unconfirmed)
    if found.metered and not update.metered:
        assert decision.step is AutoStep.NOTHING
    full = {"none": AutoStep.NOTHING, "check": AutoStep.CHECK, "download": AutoStep.DOWNLOAD}
    wanted = full.get(update.auto, AutoStep.STAGE)
    assert decision.step <= wanted
    # Whatever is less than the policy wants has a reason that people can read.
    assert (decision.step < wanted) <= bool(decision.held_back)
    if update.auto == "reboot":
        assert decision.reboot != any(each.reboot for each in decision.reasons)


@given(facts, updates)
def test_one_more_obstacle_never_allows_more(found: AutoFacts, update: Update) -> None:
    worse = (
        {"metered": True},
        {"on_battery": True},
        {"logins": (*found.logins, ANN)},
        {"free": 0},
        {"unconfirmed": "hello 2"},
    )
    before = plan_auto(found, update)
    for changed in worse:
        after = plan_auto(replace(found, **changed), update)
        assert after.step <= before.step and after.reboot <= before.reboot
