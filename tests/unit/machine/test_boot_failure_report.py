"""What is told and held after the loader gave an entry up."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from atoll.cli.main import main
from atoll.machine.boot.boot_entry import EntryName
from atoll.machine.deployments.flags import read_flags
from atoll.machine.deployments.history import read_history
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.health.boot_failure_report import (
    apply_report,
    decide_failed,
    explain_running,
    find_failed,
    format_login_message,
    plan_report,
    read_notes,
    write_login_message,
)
from atoll.machine.health.pstore import Panic
from tests.unit.machine.test_state import place

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from atoll.machine.health.boot_failure_report import FailedDeployment

OLD = EntryName(sequence=1)
GIVEN_UP = EntryName(sequence=2, tries_left=0, tries_used=3)
PANIC = Panic(when=1 << 33, message="no init")


def machine(
    root: Path, attempts: Mapping[str, str] | None = None, *, entry: EntryName = GIVEN_UP
) -> Sysroot:
    """Deployment 1 runs, 2 has this entry; ``attempts`` are the files that its boots left."""
    place(root, 1, OLD)
    place(root, 2, entry, version="2")
    folder = root / "atoll/state/tries/2"
    folder.mkdir(parents=True)
    for name, text in (attempts or {}).items():
        (folder / name).write_text(text)
    # Not booted: what early boot calls the running one would have to be mounted.
    return Sysroot(root=root, esp=root / "esp")


def judged(sysroot: Sysroot, *panics: Panic) -> tuple[FailedDeployment, ...]:
    return decide_failed(sysroot, read_state(sysroot), panics)


def report(sysroot: Sysroot, *panics: Panic) -> str:
    given_up = judged(sysroot, *panics)
    apply_report(sysroot, plan_report(sysroot, read_state(sysroot), given_up, now=5))
    return format_login_message(read_state(sysroot), given_up)


STARTED = {f"{number}-started": f"atoll-2+{3 - number}-{number}.conf\n" for number in (1, 2, 3)}


def test_evidence_is_told_and_holds_the_tree(tmp_path: Path) -> None:
    sysroot = machine(tmp_path, {**STARTED, "3-failed": "health check web failed: exit status 1\n"})
    news = report(sysroot)
    assert news.splitlines() == [
        "hello 2 (2) failed to boot; hello 1 (1) is running.",
        "  Why: health check web failed: exit status 1",
        "  Automatic updates will not install it again. See: atoll health",
    ]
    ((tree, hold),) = read_flags(sysroot.state).held.items()
    assert tree == f"{2:064x}"
    assert (hold.deployment, hold.version, hold.when) == (2, "2", 5)
    (event,) = read_history(sysroot.state)
    assert (event.what, event.deployment, event.was) == ("fallback", 1, 2)
    assert hold.why == "health check web failed: exit status 1"


def test_pulled_plugs_are_told_and_hold_nothing(tmp_path: Path) -> None:
    sysroot = machine(tmp_path, STARTED)
    assert "atoll upgrade tries it again" in report(sysroot)
    assert not read_flags(sysroot.state).held


def test_a_kernel_that_never_started_and_one_that_panicked(tmp_path: Path) -> None:
    sysroot = machine(tmp_path)
    (given_up,) = judged(sysroot)
    assert given_up.verdict.why == "its kernel or initrd did not start in 3 boot attempts"
    (given_up,) = judged(sysroot, PANIC)
    assert given_up.verdict.why == "its kernel panicked: no init"


def test_a_verdict_is_found_once_and_told_again(tmp_path: Path) -> None:
    sysroot = machine(tmp_path, STARTED)
    first = report(sysroot)
    (sysroot.state / "tries/2/3-failed").write_text("too late\n")
    assert report(sysroot, PANIC) == first
    assert plan_report(sysroot, read_state(sysroot), judged(sysroot), now=6) == ()


def test_a_new_entry_gets_a_verdict_of_its_own(tmp_path: Path) -> None:
    sysroot = machine(tmp_path, STARTED)
    report(sysroot)
    (sysroot.entries / "atoll-2+0-3.conf").unlink()
    shutil.rmtree(tmp_path / "atoll/deployments/2")
    place(tmp_path, 2, EntryName(sequence=7, tries_left=0, tries_used=3), version="2")
    assert "did not start in 3 boot attempts" in report(sysroot)


@pytest.mark.parametrize(
    "entry",
    [
        EntryName(sequence=2),
        EntryName(sequence=2, tries_left=1, tries_used=2),
        # Atoll's own mark for one that a person left.
        EntryName(sequence=2, tries_left=0, tries_used=1),
    ],
)
def test_only_what_the_loader_gave_up_is_told(tmp_path: Path, entry: EntryName) -> None:
    sysroot = machine(tmp_path, entry=entry)
    assert find_failed(read_state(sysroot)) == ()
    assert report(sysroot) == ""


def test_what_was_blessed_once_or_runs_is_not_told(tmp_path: Path) -> None:
    sysroot = machine(tmp_path)
    runs = Sysroot(root=tmp_path, esp=tmp_path / "esp", booted=2)
    assert find_failed(read_state(runs)) == ()
    (sysroot.state / "blessed").mkdir()
    (sysroot.state / "blessed/2").touch()
    assert find_failed(read_state(sysroot)) == ()


def test_a_new_machine_that_was_never_healthy_says_why(tmp_path: Path) -> None:
    """Nothing else can boot, so the loader starts what used up its tries."""
    tried = {**STARTED, "3-failed": "health check web failed: exit status 1\n"}
    entry = EntryName(sequence=2, tries_left=0, tries_used=4)
    machine(tmp_path, tried, entry=entry)
    shutil.rmtree(tmp_path / "atoll/deployments/1")
    (tmp_path / "esp/loader/entries/atoll-1.conf").unlink()
    runs = Sysroot(root=tmp_path, esp=tmp_path / "esp", booted=2)
    state = read_state(runs)
    why = explain_running(runs, state, ())
    assert format_login_message(state, (), running=why).splitlines() == [
        "hello 2 (2) is running, but was not healthy in any boot so far.",
        "  Why: health check web failed: exit status 1",
        "  See: atoll health",
    ]
    (runs.state / "blessed").mkdir()
    (runs.state / "blessed/2").touch()
    assert explain_running(runs, read_state(runs), ()) is None


@pytest.mark.parametrize(
    "entry", [EntryName(sequence=2), EntryName(sequence=2, tries_left=1, tries_used=2)]
)
def test_a_deployment_on_trial_is_not_judged(tmp_path: Path, entry: EntryName) -> None:
    machine(tmp_path, STARTED, entry=entry)
    runs = Sysroot(root=tmp_path, esp=tmp_path / "esp", booted=2)
    assert explain_running(runs, read_state(runs), ()) is None


def test_news_are_for_the_console_and_after_the_login(tmp_path: Path) -> None:
    issue, motd = tmp_path / "issue.d/50-atoll.issue", tmp_path / "motd.d/50-atoll"
    write_login_message("a\\b\n", issue=issue, motd=motd)
    assert (issue.read_text(), motd.read_text()) == ("a\\\\b\n", "a\\b\n")
    write_login_message("", issue=issue, motd=motd)
    assert not issue.exists() and not motd.exists()


def test_notes_of_early_boot_are_told(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    assert read_notes(notes) == ()
    notes.write_text("what was changed\x1b has not come along\n")
    sysroot = machine(tmp_path, entry=OLD)
    assert format_login_message(read_state(sysroot), (), read_notes(notes)) == (
        "Atoll: what was changed has not come along\n"
    )


def test_health_shows_tries_verdicts_and_what_is_held(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sysroot = machine(tmp_path, {**STARTED, "3-failed": "no web\n"})
    report(sysroot)
    assert main(["health", "--root", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["healthy"] is None and document["watchdog"] is None
    assert [each["failure"] for each in document["tries"]] == [None, None, "no web"]
    assert document["given_up"] == [{"deployment": 2, "evidence": True, "why": "no web"}]
    (held,) = document["held"]
    assert (held["tree"], held["why"]) == (f"{2:064x}", "no web")
    assert main(["health", "--root", str(tmp_path)]) == 0
    assert "given up    deployment 2: no web" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["1-started", "1-failed"])
def test_starts_that_cannot_be_read_are_no_evidence(tmp_path: Path, name: str) -> None:
    sysroot = machine(tmp_path, {"1-started": "atoll-2+2-1.conf", "1-failed": "why"})
    note = sysroot.state / "tries/2" / name
    note.unlink()
    # Only its first look says that it is a file: reading it is an error of input and output.
    note.symlink_to(tmp_path / "large")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 30)
    (given_up,) = decide_failed(sysroot, read_state(sysroot), ())
    assert not given_up.verdict.evidence and "cannot be read" in given_up.verdict.why
