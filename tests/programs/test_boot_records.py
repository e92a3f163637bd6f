"""What early boot and the scripts of a machine record of a boot is what Python reads, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atoll.machine.boot.boot_entries import MenuEntry, format_entry_list
from atoll.machine.boot.boot_entry import EntryName, format_entry_name, parse_entry_name
from atoll.machine.boot.nvram import ONE_SHOT, read_overrides
from atoll.machine.deployments.flags import BLESSED, SetFlag
from atoll.machine.deployments.retention import BOOT_TRIES
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.grow import GROWING
from atoll.machine.health.boot_attempts import read_attempts
from atoll.machine.health.boot_failure_report import read_notes
from atoll.machine.health.checks import Check, HealthResult, write_health
from tests.programs.early_boot import TREE, Stand, read_early_boot
from tests.programs.shell_functions import both_shells

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = both_shells

COUNTED = EntryName(sequence=7, tries_left=2, tries_used=1)
HARD_TEXT = 'it\'s 50 % of "$HOME" \\n `x` *'


@pytest.fixture
def stand(tmp_path: Path, shell: str) -> Stand:
    stand = Stand(place=tmp_path / "machine", shell=shell)
    stand.state.mkdir(parents=True)
    stand.etc.mkdir(parents=True)
    (stand.place / "efi/efivars").mkdir(parents=True)
    return stand


def sysroot_of(stand: Stand) -> Sysroot:
    return Sysroot(root=stand.place / "disk", esp=stand.place / "esp", booted=1)


def count_boots_of(stand: Stand, entry: str) -> None:
    """As systemd-boot tells it: a path in UTF-16 behind four bytes of attributes."""
    variable = stand.place / "efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
    text = f"\\loader\\entries\\{entry}\0"
    variable.write_bytes(b"\x06\0\0\0" + text.encode("utf-16-le"))


def boot(stand: Stand, steps: str = "") -> None:
    call = f"read_command_line; mount_state_partition; record_boot_attempt; {steps}"
    done = stand.run(stand.early_boot(call))
    assert done.returncode in (0, 1), done.stderr


def run(stand: Stand, name: str) -> Path:
    return stand.place / "run/atoll" / name


def test_a_try_and_the_reason_of_its_failure_are_what_python_reads(stand: Stand) -> None:
    for number, left in ((1, 2), (2, 1)):
        entry = EntryName(sequence=7, tries_left=left, tries_used=3 - left)
        count_boots_of(stand, format_entry_name(entry))
        boot(stand, f"fail '{number}:' {_quoted(HARD_TEXT)}")
        assert run(stand, "try").read_text() == f"{number}\n"
        assert run(stand, "unblessed").read_bytes() == b""
        tries = read_attempts(sysroot_of(stand), 1)
        assert [each.number for each in tries] == list(range(1, number + 1))
        assert tries[-1].entry == entry
        assert tries[-1].failure == f"{number}: {HARD_TEXT}"
        assert run(stand, "failed").read_text() == f"{number}: {HARD_TEXT}\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


@pytest.mark.parametrize(
    "name", ["atoll-7.conf", "other.conf", "atoll-7+x.conf", "atoll-0+3.conf", ""]
)
def test_a_boot_that_is_not_counted_leaves_no_try(stand: Stand, name: str) -> None:
    if name:
        count_boots_of(stand, name)
    boot(stand)
    assert not run(stand, "try").exists() and run(stand, "unblessed").exists()
    assert read_attempts(sysroot_of(stand), 1) == ()


def test_a_blessed_deployment_is_not_on_trial(stand: Stand) -> None:
    SetFlag(path=stand.state / BLESSED / "1").execute()
    count_boots_of(stand, format_entry_name(COUNTED))
    boot(stand)
    assert not run(stand, "try").exists() and not run(stand, "unblessed").exists()


@pytest.mark.parametrize("used", [BOOT_TRIES - 1, BOOT_TRIES, BOOT_TRIES + 1, BOOT_TRIES + 7])
def test_after_the_last_try_a_boot_is_not_on_trial_and_the_login_says_so(
    stand: Stand, used: int
) -> None:
    """Else a machine without another entry would restart for ever."""
    assert f"\nmax_attempts={BOOT_TRIES}\n" in read_early_boot()
    left = 1 if used < BOOT_TRIES else 0
    count_boots_of(
        stand, format_entry_name(EntryName(sequence=7, tries_left=left, tries_used=used))
    )
    boot(stand)
    assert run(stand, "try").exists() is (used <= BOOT_TRIES)
    notes = read_notes(run(stand, "notes"))
    assert [note.startswith("deployment 1 has no tries left") for note in notes] == (
        [True] * (used > BOOT_TRIES)
    )


def test_notes_come_to_the_login_a_line_each(stand: Stand) -> None:
    boot(stand, f"note {_quoted(HARD_TEXT)}; note second")
    assert read_notes(run(stand, "notes")) == (HARD_TEXT, "second")


def test_python_reads_which_entry_early_boot_asks_the_loader_for(stand: Stand) -> None:
    entries = (
        MenuEntry(name=COUNTED, deployment=9),
        MenuEntry(name=EntryName(sequence=6), deployment=4),
    )
    (stand.state / "entries.json").write_bytes(format_entry_list(entries))
    boot(stand, f"fail {_quoted(HARD_TEXT)}")
    (override,) = read_overrides(stand.place / "efi/efivars")
    assert (override.variable, override.entry) == (ONE_SHOT, "atoll-6.conf")
    said = (stand.state / "gave-way").read_text()
    assert said.startswith(f"deployment 1 did not boot ({HARD_TEXT}); deployment 4 runs.")
    boot(stand, "deployment=4; report_failed_deployment")
    assert read_notes(run(stand, "notes")) == (said.rstrip("\n"),)
    assert not (stand.state / "gave-way").exists()


def test_damaged_entries_are_named_on_the_screen_and_no_entry_is_asked_for(stand: Stand) -> None:
    (stand.state / "entries.json").write_bytes(format_entry_list(())[:-1])
    boot(stand, "fail broken")
    assert read_overrides(stand.place / "efi/efivars") == ()
    assert not (stand.state / "gave-way").exists()
    screen = (stand.place / "screen").read_text().splitlines()
    assert screen[0] == "broken" and "entries.json cannot be read" in screen[1]


def test_what_early_boot_writes_of_itself_is_found_by_python(stand: Stand) -> None:
    from atoll.machine.deployments.sysroot import parse_booted

    boot(stand, "write_booted")
    assert parse_booted(run(stand, "booted").read_bytes()) == 1


def fail_boot(stand: Stand, words: str, *, booted: str, attempt: str = "3\n") -> str:
    """``/usr/lib/atoll/fail-boot`` inside of its mount namespace."""
    text = stand.script("fail-boot")
    set_up = (
        f"printf '%s' {_quoted(booted)} > {run(stand, 'booted')};"
        f"printf '%s' {_quoted(attempt)} > {run(stand, 'try')}\n"
    )
    done = stand.run(f"set -- --in-namespace {words}\n{set_up}{text}")
    assert done.returncode == 0, done.stderr
    return (stand.place / "asked").read_text()


BOOTED = f'{{"deployment": 1, "tree": "{TREE}"}}\n'


def test_why_health_checks_failed_is_the_failure_of_the_try(stand: Stand) -> None:
    health = HealthResult(when=1, checks=(Check(name="50-web", passed=False, detail=HARD_TEXT),))
    folder = stand.place / "noted"
    folder.mkdir()
    write_health(health, folder)
    (stand.state / "tries/1").mkdir(parents=True)
    text = stand.script("fail-boot")
    stand_text = text.replace(str(run(stand, "unhealthy")), str(folder / "unhealthy"))
    assert stand_text != text
    before = f"set -- --in-namespace\necho 3 > {run(stand, 'try')}\n"
    done = stand.run(before + stand_text)
    assert done.returncode == 0, done.stderr
    (attempt,) = read_attempts(sysroot_of(stand), 1)
    assert (attempt.number, attempt.failure) == (3, health.why)
    assert (stand.place / "asked").read_text() == "--no-block reboot\n"


def test_the_first_reason_of_a_failure_stays(stand: Stand) -> None:
    (stand.state / "tries/1").mkdir(parents=True)
    assert (
        fail_boot(stand, "--now 'the cause'", booted=BOOTED)
        == "--no-block --force --force reboot\n"
    )
    fail_boot(stand, "'its effect'", booted=BOOTED)
    (attempt,) = read_attempts(sysroot_of(stand), 1)
    assert attempt.failure == "the cause"


@pytest.mark.parametrize(
    ("booted", "attempt"),
    [("", "3\n"), (BOOTED[:-1], "3\n"), (BOOTED * 2, "3\n"), (BOOTED, ""), (BOOTED, "../3\n")],
)
def test_a_failed_boot_restarts_also_when_its_reason_cannot_be_kept(
    stand: Stand, booted: str, attempt: str
) -> None:
    (stand.state / "tries/1").mkdir(parents=True)
    assert fail_boot(stand, "why", booted=booted, attempt=attempt).endswith("reboot\n")
    assert list((stand.state / "tries").rglob("*failed")) == []


@pytest.mark.parametrize("kept", [None, "", "0" * 31, "0" * 32 + "x", "g" * 32])
def test_a_machine_id_that_is_missing_or_damaged_is_saved_again(
    stand: Stand, kept: str | None
) -> None:
    """Else each new deployment would give the machine another one."""
    machine_id = "0123456789abcdef" * 2
    place = stand.place / "running-id"
    place.write_text(f"{machine_id}\n")
    saved = stand.state / "machine-id"
    if kept is not None:
        saved.write_text(f"{kept}\n")
    etc = stand.place / "sysroot/etc"
    restore = (
        f"mkdir -p {etc}; echo uninitialized > {etc}/machine-id;"
        f"partition={stand.place}/disk; restore_machine_id"
    )
    assert stand.run(stand.early_boot(restore)).returncode == 0
    assert (etc / "machine-id").read_text() == "uninitialized\n"
    text = stand.script("save-machine-id").replace("/etc/machine-id", str(place))
    for _ in range(2):
        assert stand.run(text).returncode == 0
        assert saved.read_text() == f"{machine_id}\n"
    assert stand.run(stand.early_boot(restore)).returncode == 0
    assert (etc / "machine-id").read_text() == f"{machine_id}\n"


NAMES = (
    "atoll-7.conf",
    "atoll-7+3.conf",
    "atoll-7+2-1.conf",
    "atoll-7+0-3.conf",
    "atoll-7+0.conf",
    "atoll-10.conf",
    "atoll-7+10-1.conf",
    "other+0.conf",
)


@pytest.mark.parametrize("name", NAMES)
def test_the_login_has_messages_when_an_entry_has_no_tries_left(stand: Stand, name: str) -> None:
    entries = stand.place / "boot/loader/entries"
    entries.mkdir(parents=True)
    (entries / name).touch()
    text = stand.script("has-login-messages").replace("/boot/", f"{stand.place}/boot/")
    parsed = parse_entry_name(name)
    used_up = parsed is not None and parsed.is_bad
    assert (stand.run(text).returncode == 0) is used_up
    note = f"echo hello > {run(stand, 'notes')}\n"
    assert stand.run(note + text).returncode == 0


def test_growing_goes_on_where_python_was_interrupted(stand: Stand) -> None:
    text = stand.script("can-grow").replace("! -e /sysroot/atoll", f"! -e {stand.place}/disk/atoll")
    text = text.replace("$(mountpoint -d /sysroot)", "none")
    assert stand.run(text).returncode == 1
    SetFlag(path=stand.state / GROWING).execute()
    assert stand.run(text).returncode == 0


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize(("sectors", "grows"), [(100_000, True), (82_048, False)])
def test_free_space_behind_the_partition_is_seen_below_an_encrypted_volume_too(
    stand: Stand,
    sectors: int,
    encrypted: bool,
    grows: bool,
) -> None:
    disk, volume = stand.place / "sys/vda", stand.place / "sys/dm-0"
    part = disk / "vda2"
    part.mkdir(parents=True)
    (disk / "size").write_text(f"{sectors}\n")
    for name, value in (("partition", 2), ("start", 2048), ("size", 80_000)):
        (part / name).write_text(f"{value}\n")
    for folder in (volume / "dm", volume / "slaves"):
        folder.mkdir(parents=True)
    (volume / "slaves/vda2").symlink_to(part)
    text = stand.script("can-grow").replace(
        "/sys/dev/block/$(mountpoint -d /sysroot)", str(volume if encrypted else part)
    )
    assert (stand.run(text).returncode == 0) is grows
