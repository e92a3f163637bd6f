"""What counted boots left behind, and what it proves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import Damaged
from atoll.machine.boot.boot_entry import EntryName
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.health.boot_attempts import (
    REASON_LENGTH,
    AttemptNote,
    BootAttempt,
    BootVerdict,
    decide_verdict,
    format_verdict,
    parse_attempts,
    parse_verdict,
    read_attempts,
    read_verdict,
    readable,
)
from atoll.machine.health.pstore import Panic, parse_panic, read_panics

if TYPE_CHECKING:
    from pathlib import Path

USED_UP = EntryName(sequence=7, tries_left=0, tries_used=3)
PANIC = "<0>[   12.3] Kernel panic - not syncing: Attempted to kill init! exitcode=0x0\n"


def attempt(number: int, failure: str | None = None, *, sequence: int = 7) -> BootAttempt:
    entry = EntryName(sequence=sequence, tries_left=3 - number, tries_used=number)
    return BootAttempt(number=number, entry=entry, started=1000 + number, failure=failure)


def test_tries_are_read_from_the_files_of_their_deployment(tmp_path: Path) -> None:
    sysroot = Sysroot(root=tmp_path, esp=tmp_path / "esp")
    folder = tmp_path / "atoll/state/tries/2"
    folder.mkdir(parents=True)
    (folder / "1-started").write_text("atoll-7+2-1.conf\n")
    (folder / "1-failed").write_text("the image of tree abc is damaged\nsecond line\n")
    (folder / "2-started").write_text("atoll-7+1-2.conf\n")
    (folder / "3-started.new").write_text("")
    (folder / "10-started").mkdir()
    first, second = read_attempts(sysroot, 2)
    assert (first.number, first.failure) == (1, "the image of tree abc is damaged second line")
    assert first.entry == EntryName(sequence=7, tries_left=2, tries_used=1)
    assert first.started == int((folder / "1-started").stat().st_mtime)
    assert (second.number, second.failure) == (2, None)
    assert read_attempts(sysroot, 3) == ()


def test_a_failure_that_was_noted_is_evidence() -> None:
    verdict = decide_verdict(USED_UP, [attempt(1, "a"), attempt(2, "b"), attempt(3)], (), staged=0)
    assert verdict == BootVerdict(entry=7, evidence=True, why="b")


def test_starts_that_never_reached_early_boot_are_evidence() -> None:
    verdict = decide_verdict(USED_UP, [], (), staged=0)
    assert verdict.evidence
    assert verdict.why == "its kernel or initrd did not start in 3 boot attempts"


def test_pulled_plugs_are_none() -> None:
    for attempts in ([attempt(1), attempt(2), attempt(3)], [attempt(2)]):
        verdict = decide_verdict(USED_UP, attempts, (), staged=0)
        assert not verdict.evidence
        assert verdict.why == f"{len(attempts)} of 3 boot attempts ended without a recorded reason"


def test_a_panic_counts_from_the_first_start_on() -> None:
    attempts = [attempt(1), attempt(2), attempt(3)]
    earlier, during = Panic(when=1000, message="old"), Panic(when=1002, message="oops")
    assert not decide_verdict(USED_UP, attempts, [earlier], staged=0).evidence
    verdict = decide_verdict(USED_UP, attempts, [earlier, during], staged=0)
    assert verdict.evidence and verdict.why == "its kernel panicked: oops"


def test_a_panic_before_early_boot_counts_from_staging_on() -> None:
    panic = Panic(when=500, message="no init")
    assert decide_verdict(USED_UP, [], [panic], staged=500).why == "its kernel panicked: no init"
    assert "panicked" not in decide_verdict(USED_UP, [], [panic], staged=501).why


def test_tries_of_an_earlier_entry_prove_nothing_of_this_one() -> None:
    earlier = attempt(1, "broken then", sequence=5)
    assert decide_verdict(USED_UP, [earlier, attempt(2)], (), staged=0).why == (
        "1 of 3 boot attempts ended without a recorded reason"
    )


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=40)))
def test_any_files_are_read(texts: dict[str, str]) -> None:
    notes = {name: AttemptNote(text=text, when=1) for name, text in texts.items()}
    numbers = [each.number for each in parse_attempts(notes)]
    assert numbers == sorted(set(numbers))


@given(
    st.dictionaries(
        st.builds("{}-{}".format, st.integers(1, 20), st.sampled_from(["started", "failed"])),
        st.text(),
    )
)
def test_every_noted_failure_is_evidence(texts: dict[str, str]) -> None:
    attempts = parse_attempts(
        {name: AttemptNote(text=text, when=1) for name, text in texts.items()}
    )
    assert {each.number for each in attempts} == {int(name.partition("-")[0]) for name in texts}
    for each in attempts:
        assert (each.failure is not None) == (f"{each.number}-failed" in texts)


@given(st.text())
def test_a_reason_is_one_printable_line(text: str) -> None:
    line = readable(text)
    assert line == "" or line.isprintable()
    assert len(line) <= REASON_LENGTH
    assert readable(line) == line


@given(st.integers(0, 10**9), st.booleans(), st.text())
def test_a_verdict_is_read_as_it_was_written(entry: int, evidence: bool, why: str) -> None:
    verdict = BootVerdict(entry=entry, evidence=evidence, why=why)
    data = format_verdict(verdict)
    assert data.count(b"\n") == 1
    if why.isprintable():
        assert parse_verdict(data) == verdict


@given(st.binary())
def test_no_bytes_make_reading_a_verdict_fail_otherwise(data: bytes) -> None:
    with pytest.raises(Damaged):
        parse_verdict(data)


def test_a_verdict_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    sysroot = Sysroot(root=tmp_path, esp=tmp_path / "esp")
    assert read_verdict(sysroot, 2) is None
    path = tmp_path / "atoll/state/tries/2/verdict"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert read_verdict(sysroot, 2) is None


def test_panics_are_found_where_the_firmware_and_systemd_keep_them(tmp_path: Path) -> None:
    (tmp_path / "fresh").mkdir()
    (tmp_path / "fresh/dmesg-efi_pstore-176400000501001").write_text(f"Panic#1 Part1\n{PANIC}")
    (tmp_path / "fresh/dmesg-efi_pstore-176400000502001").write_text("Panic#1 Part2\nless\n")
    (tmp_path / "kept/1763000000/001").mkdir(parents=True)
    (tmp_path / "kept/1763000000/001/dmesg.txt").write_text(PANIC)
    (tmp_path / "kept/1762000000").mkdir()
    (tmp_path / "kept/1762000000/dmesg.txt").write_text("Oops#1 Part1\n")
    message = "Attempted to kill init! exitcode=0x0"
    assert read_panics((tmp_path / "fresh", tmp_path / "kept", tmp_path / "none")) == (
        Panic(when=1763000000, message=message),
        Panic(when=1764000005, message=message),
    )


@given(st.text(), st.text())
def test_any_record_is_read(name: str, text: str) -> None:
    found = parse_panic(name, f"{text}Kernel panic - not syncing: {text}")
    if found is not None:
        assert found.message == "" or found.message.isprintable()
