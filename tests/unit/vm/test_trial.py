"""Reports of trials, and a fake QEMU that behaves well, badly or not at all."""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import Damaged, NotFound, UsageError
from atoll.base.report import NullReporter
from atoll.cli.run.test import _document, format_trial
from atoll.vm import qemu
from atoll.vm.qemu import Firmware, VmSpec, plan_command, quoted
from atoll.vm.run_trial import TrialSettings, run_trial, tail_of_console
from atoll.vm.trial import (
    OUTPUT_LIMIT,
    FailedUnit,
    ScriptResult,
    Trial,
    TrialEnd,
    check_scripts,
    find_scripts,
    guest_credentials,
    is_finished,
    parse_trial,
    write_payload,
)

NAMES = ("a.sh", "b.sh")
GOOD = (
    b"hello\nstate running 12 active\nstart 0\ndone 0 0 3 6\nfine!\nstart 1\ndone 1 77 0 0\nend\n"
)

FAKE = """#!/bin/bash
for word; do
    case $word in
        file,id=console,path=*) console=${word##*path=} ;;
        file,id=trial,path=*) report=${word##*path=} ;;
    esac
done
echo "booting" >"$console"
case $FAKE_QEMU in
    good)
        printf 'hello\\nstate running 9 active\\nstart 0\\n' >"$report"
        printf 'done 0 0 1 3\\nok\\nend\\n' >>"$report" ;;
    failed)
        printf 'state running 9 active\\nstart 0\\n' >"$report"
        printf 'done 0 3 1 5\\noops\\nend\\n' >>"$report" ;;
    degraded)
        printf 'state degraded 9 inactive\\nunit x.service 4\\nbad\\n' >"$report"
        printf 'start 0\\ndone 0 0 0 0\\nend\\n' >>"$report" ;;
    panic) echo "[1.0] Kernel panic - not syncing: VFS" >>"$console" ;;
    frozen) echo "systemd[1]: Freezing execution." >>"$console" ;;
    dies) printf 'hello\\nstate running 9 active\\nstart 0\\n' >"$report"; exit 0 ;;
    nostart) rm "$console"; echo "qemu: no such machine" >&2; exit 1 ;;
    liar) printf 'let me in\\n' >"$report"; exit 0 ;;
esac
exec sleep 600
"""


@pytest.fixture
def fake_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory at the start of PATH, in which QEMU is ``FAKE``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / qemu.PROGRAM).write_text(FAKE)
    (folder / qemu.PROGRAM).chmod(0o755)
    firmware = tmp_path / "firmware"
    firmware.mkdir()
    for name in ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"):
        (firmware / name).write_bytes(b"uefi")
    monkeypatch.setattr(qemu, "FIRMWARE", (firmware,))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return folder


def run_fake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mood: str, timeout: int = 60
) -> tuple[Trial, str]:
    monkeypatch.setenv("FAKE_QEMU", mood)
    script = tmp_path / "a.sh"
    script.write_text("echo\n")
    setup = TrialSettings(kvm=False, timeout=timeout)
    trial = run_trial(tmp_path / "disk", (script,), setup, NullReporter())
    assert list(tmp_path.glob("atoll-trial-*")) == []
    return trial


@pytest.mark.usefixtures("fake_qemu")
@pytest.mark.parametrize(
    ("mood", "ending", "passed", "told"),
    [
        ("good", TrialEnd.FINISHED, True, "a.sh          ok, 1 s"),
        ("failed", TrialEnd.FINISHED, False, "a.sh          failed with status 3, 1 s"),
        ("degraded", TrialEnd.FINISHED, False, "failed units  x.service"),
        ("panic", TrialEnd.PANIC, False, "    [1.0] Kernel panic - not syncing: VFS"),
        ("frozen", TrialEnd.FROZEN, False, "the machine: its systemd gave up"),
        ("dies", TrialEnd.DIED, False, "a.sh          did not finish"),
        ("nostart", TrialEnd.NO_START, False, "    qemu: no such machine"),
    ],
)
def test_each_ending_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mood: str,
    ending: TrialEnd,
    passed: bool,
    told: str,
) -> None:
    trial, console = run_fake(tmp_path, monkeypatch, mood)
    assert (trial.ending, trial.passed) == (ending, passed)
    assert told in format_trial(trial, console)


@pytest.mark.usefixtures("fake_qemu")
def test_time_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial, console = run_fake(tmp_path, monkeypatch, "hangs", timeout=1)
    assert trial.ending is TrialEnd.TIMEOUT
    assert console == "booting"


@pytest.mark.usefixtures("fake_qemu")
def test_a_guest_that_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Damaged, match="let me in"):
        run_fake(tmp_path, monkeypatch, "liar")


def test_the_last_word_is_the_guests_own() -> None:
    without_newline = b"hello\nstart 0\ndone 0 0 1 2\nokend\n"
    assert is_finished(without_newline)
    assert parse_trial(without_newline, NAMES[:1], TrialEnd.FINISHED).scripts[0].output == "ok"
    assert not is_finished(b"hello\nunit x.service 8\nthe\nend\n")
    assert not is_finished(b"hello\nstart 0\ndone 0 0 1 9\nthe\nend\n")


def test_answers() -> None:
    trial = parse_trial(GOOD, NAMES, TrialEnd.FINISHED)
    assert is_finished(GOOD)
    assert trial.passed
    assert trial.scripts == (
        ScriptResult(name="a.sh", status=0, seconds=3, output="fine!\n"),
        ScriptResult(name="b.sh", status=77),
    )


@given(st.integers(0, len(GOOD) - 1))
def test_an_answer_that_breaks_off_is_no_success(size: int) -> None:
    trial = parse_trial(GOOD[:size], NAMES, TrialEnd.DIED)
    assert [script.name for script in trial.scripts] == list(NAMES)
    assert not trial.passed


@given(st.binary())
def test_any_answer_is_taken_or_refused(answer: bytes) -> None:
    try:
        parse_trial(b"hello\n" + answer, NAMES, TrialEnd.DIED)
    except Damaged as error:
        assert "machine under test" in error.message


@pytest.mark.parametrize("line", [b"start 2\n", b"done 0 x 1 1\n", b"state a -1 b\n"])
def test_answers_that_cannot_be(line: bytes) -> None:
    with pytest.raises(Damaged):
        parse_trial(line, NAMES, TrialEnd.DIED)


def test_what_a_failure_looks_like() -> None:
    trial = Trial(
        ending=TrialEnd.TIMEOUT,
        state="degraded",
        seconds=41,
        failed_units=(FailedUnit(name="x.service", log="it broke\n"),),
        scripts=(
            ScriptResult(name="a.sh", status=1, output="bad\x1b[2J\n"),
            ScriptResult(name="b.sh"),
        ),
    )
    assert format_trial(trial, "last words") == (
        "booted        in 41 s\n"
        "system        degraded\n"
        "healthy       no\n"
        "failed units  x.service\n"
        "a.sh          failed with status 1, 0 s\n"
        "b.sh          did not finish\n"
        "\n"
        "x.service:\n"
        "    it broke\n"
        "\n"
        "a.sh:\n"
        "    bad\\x1b[2J\n"
        "\n"
        "the machine: took too long; end of the console:\n"
        "    last words"
    )
    document = _document(trial, "one\ntwo", "store:x", "t")
    assert document["ending"] == "timeout"
    assert document["console"] == ["one", "two"]


def test_the_payload_holds_the_scripts_and_what_is_beside_them(tmp_path: Path) -> None:
    tests = tmp_path / "tests"
    (tests / "data").mkdir(parents=True)
    (tests / "b.sh").write_text("b")
    (tests / "a.sh").write_text("a")
    (tests / "data/x").write_text("x")
    scripts = find_scripts(tmp_path)
    assert [script.name for script in scripts] == ["a.sh", "b.sh"]
    write_payload(scripts, tmp_path / "out")
    assert (tmp_path / "out").stat().st_size % 512 == 0
    with tarfile.open(tmp_path / "out") as archive:
        names = archive.getnames()
        assert names == [
            "scripts/0",
            "scripts/1",
            "tests/a.sh",
            "tests/b.sh",
            "tests/data",
            "tests/data/x",
        ]
        first = archive.extractfile("scripts/0")
        assert first
        assert first.read() == b"a.sh\n"
        assert {member.uid for member in archive} == {0}


def test_scripts_that_cannot_run(tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_text("")
    with pytest.raises(NotFound):
        check_scripts((tmp_path / "no.sh",))
    with pytest.raises(UsageError):
        check_scripts((tmp_path / "a.sh", tmp_path / "a.sh"))


def test_the_guests_script_is_a_shell_script(tmp_path: Path) -> None:
    script = dict(guest_credentials(60))["atoll.trial"]
    assert not re.search(rb"@[A-Z]+@", script)
    assert str(OUTPUT_LIMIT).encode() in script
    (tmp_path / "guest").write_bytes(script)
    subprocess.run(["sh", "-n", tmp_path / "guest"], check=True)


def test_the_last_words_of_a_console() -> None:
    assert tail_of_console("a\r\n\r\nb  \r") == "a\nb"
    assert len(tail_of_console("x\n" * 1000).splitlines()) == 40


def test_the_command_of_a_machine(fake_qemu: Path) -> None:
    firmware = Firmware(code=Path("/code"), variables=Path("/v"))
    machine = VmSpec(
        disk=Path("/a,b"),
        firmware=firmware,
        variables=Path("/own"),
        kvm=False,
        ssh_port=2222,
        strings=("x=1,2",),
    )
    words = plan_command(machine, "-last")
    assert str(fake_qemu / qemu.PROGRAM) in words
    assert words[-1] == "-last"
    assert "type=11,value=x=1,,2" in words
    assert "user,id=net0,hostfwd=tcp:127.0.0.1:2222-:22" in words
    assert any("file.filename=/a,,b" in word for word in words)
    assert words[words.index("-smp") + 1] == "1"
    assert quoted("a,b") == "a,,b"


def test_a_live_system_is_on_a_usb_stick(fake_qemu: Path) -> None:
    assert fake_qemu.is_dir()
    firmware = Firmware(code=Path("/code"), variables=Path("/v"))
    machine = VmSpec(
        disk=Path("/live.img"), firmware=firmware, variables=Path("/own"), kvm=False, stick=True
    )
    words = plan_command(machine)
    assert "qemu-xhci,id=usb" in words
    stick = "usb-storage,bus=usb.0,removable=on,drive=system,serial=system,bootindex=1"
    assert stick in words
    assert not any(word.startswith("virtio-blk") for word in words)
