"""The verbs of a machine, spoken to a fake QEMU that runs the true guest shell."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from vmtest import Machine, MachineError, MachineSpec, RequestFailed
from vmtest.emulator import Ending

ROOT = Path(__file__).parents[3]


def test_succeed_returns_stdout_of_all(fake: Machine, story: list[str]) -> None:
    fake.start()
    assert fake.succeed("echo one; echo aside >&2", "echo two") == "one\ntwo\n"
    assert any("echo two  [0, " in line for line in story)


def test_succeed_says_what_failed(fake: Machine) -> None:
    fake.start()
    with pytest.raises(RequestFailed) as caught:
        fake.succeed("echo out; echo wrong >&2; exit 3")
    assert "exit status 3 of: echo out" in str(caught.value)
    assert "out\nwrong" in str(caught.value)


def test_a_pipe_fails_with_its_first_part_and_a_script_with_its_first_line(fake: Machine) -> None:
    fake.start()
    fake.fail("false | cat")
    fake.fail("false\ntrue")


def test_fail_returns_both_outputs(fake: Machine) -> None:
    fake.start()
    assert fake.fail("echo said; echo refused >&2; false") == "said\nrefused\n"
    with pytest.raises(RequestFailed, match="succeeded: true"):
        fake.fail("true")


def test_execute_asserts_nothing(fake: Machine) -> None:
    fake.start()
    assert fake.execute("echo x; exit 7") == (7, "x\n")


@pytest.mark.parametrize(
    "command",
    ["printf %s 'a  b\\\\c'", 'echo "quotes \' in \\" it"', "echo ünï", "cat <<X\n  lines\nX\n"],
)
def test_commands_arrive_as_written(fake: Machine, command: str) -> None:
    fake.start()
    here = subprocess.run(["bash", "-c", command], capture_output=True, check=True, text=True)
    assert fake.succeed(command) == here.stdout


def test_output_is_binary_and_may_be_large(fake: Machine) -> None:
    fake.start()
    data = os.urandom(5_000_000)
    finished = fake.run("cat", stdin=data)
    assert finished.output == data
    assert finished.errors == b""


def test_input_that_is_not_read_does_not_disturb_the_next_command(fake: Machine) -> None:
    fake.start()
    fake.run("true", stdin=b"x" * 300_000)
    assert fake.succeed("cat; echo next") == "next\n"


def test_a_child_left_behind_does_not_hold_the_command(fake: Machine) -> None:
    fake.start()
    child = int(fake.succeed("sleep 60 & echo $!"))
    os.kill(child, signal.SIGTERM)


def test_a_limit_ends_the_command_and_the_shell_lives_on(fake: Machine) -> None:
    fake.start()
    with pytest.raises(MachineError, match="1 s were not enough for: echo begun; sleep 30") as it:
        fake.succeed("echo begun; sleep 30", timeout=1)
    assert "begun" in str(it.value)
    assert fake.succeed("echo alive") == "alive\n"


def test_own_status_124_is_not_a_limit(fake: Machine) -> None:
    fake.start()
    assert fake.execute("exit 124") == (124, "")


def test_a_machine_that_ends_in_a_command_is_said_to(fake: Machine) -> None:
    fake.start()
    with pytest.raises(MachineError) as caught:
        fake.succeed("systemctl crash")
    assert "gone, waiting for the end of: systemctl crash (guest-panic)" in str(caught.value)
    assert "fake login:" in str(caught.value)
    with pytest.raises(MachineError, match="does not run"):
        fake.succeed("true")


def test_a_killed_machine_is_said_to_be_gone(fake: Machine) -> None:
    fake.start()
    with pytest.raises(MachineError, match="gone"):
        fake.succeed("kill -9 $FAKE_PID")
    assert not fake.is_running()


def test_reboot_starts_another_qemu(fake: Machine) -> None:
    fake.start()
    fake.succeed("true")
    fake.reboot()
    assert fake.succeed("echo back") == "back\n"
    assert fake.console.path.read_text().count("booting") == 2
    assert fake.console.text().count("booting") == 1


@pytest.mark.long
def test_soft_reboot_waits_for_the_new_shell(fake: Machine) -> None:
    fake.start()
    fake.succeed("true")
    fake.soft_reboot()
    assert fake.succeed("echo back") == "back\n"
    assert fake.console.path.read_text().count("booting") == 1


def test_shutdown_waits_for_the_end(fake: Machine) -> None:
    fake.start()
    fake.shutdown()
    assert not fake.is_running()


def test_an_end_of_the_wrong_kind_is_an_error(fake: Machine) -> None:
    fake.start()
    fake.execute("(sleep 0.2; systemctl poweroff) >/dev/null 2>&1 &")
    with pytest.raises(MachineError, match="ended by guest-shutdown; expected guest-reset"):
        fake.wait_for_reboot()


def test_a_machine_that_has_reset_already_is_started_again(
    fake: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_QEMU", "panics")
    fake.start()
    fake.wait_for_end(Ending.RESET)
    monkeypatch.delenv("FAKE_QEMU")
    fake.wait_for_reboot()
    assert fake.succeed("echo up") == "up\n"


def test_power_cut_and_start_again_on_the_same_disks(fake: Machine) -> None:
    fake.start()
    overlay = fake.directory / "disk0.qcow2"
    written = overlay.stat().st_mtime_ns
    fake.power_cut()
    assert not fake.is_running()
    with pytest.raises(MachineError, match="does not run"):
        fake.power_cut()
    fake.start()
    assert fake.succeed("echo again") == "again\n"
    assert overlay.stat().st_mtime_ns == written
    fake.remove_disks()
    assert not overlay.exists()


def test_starting_twice_is_an_error(fake: Machine) -> None:
    fake.start()
    with pytest.raises(MachineError, match="runs already"):
        fake.start()


def test_a_qemu_that_refuses_is_quoted(fake: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_QEMU", "refuses")
    with pytest.raises(MachineError, match="does not start: fake-qemu: Could not open the disk"):
        fake.start()


def test_a_machine_that_never_boots(fake: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_QEMU", "hangs")
    fake.start()
    with pytest.raises(MachineError, match="waited 1 s for its shell to come up") as caught:
        fake.wait_for_shell(timeout=1)
    assert "console tail" in str(caught.value)
    assert "booting" in str(caught.value)


def test_a_shell_that_talks_nonsense(fake: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_QEMU", "nonsense")
    fake.start()
    with pytest.raises(MachineError, match="something strange: b'what\\?"):
        fake.succeed("true")


def test_console_text(fake: Machine) -> None:
    fake.start()
    fake.wait_for_login_prompt()
    assert fake.wait_for_console_text(r"^(\w+) GNU/Linux$")[1] == "Fake"
    with pytest.raises(MachineError, match="for the console to say 'never'"):
        fake.wait_for_console_text("never", timeout=0.5)
    fake.kill()
    with pytest.raises(MachineError, match="ended before its console said 'never'"):
        fake.wait_for_console_text("never")


def test_units(fake: Machine) -> None:
    fake.start()
    fake.wait_for_unit("up.service")
    with pytest.raises(RequestFailed, match=r"broken\.service is failed"):
        fake.wait_for_unit("broken.service")
    with pytest.raises(RequestFailed, match=r"absent\.service is inactive"):
        fake.wait_for_unit("absent.service")


def test_system_state(fake: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_STATE", "degraded")
    fake.start()
    assert fake.wait_for_system("running", "degraded") == "degraded"
    with pytest.raises(RequestFailed, match="the system is degraded"):
        fake.wait_for_system()


def test_waiting_for_a_file_and_a_command(fake: Machine, tmp_path: Path) -> None:
    fake.start()
    fake.succeed(f"(sleep 0.3; touch '{tmp_path}/a file') >/dev/null 2>&1 &")
    fake.wait_for_file(f"{tmp_path}/a file")
    assert fake.wait_until_succeeds("echo done") == "done\n"
    fake.wait_until_fails("test -e /nowhere")
    with pytest.raises(MachineError, match="for this to succeed: false"):
        fake.wait_until_succeeds("false", timeout=1)


def test_files_go_in_and_out(fake: Machine, tmp_path: Path) -> None:
    source, inside, back = tmp_path / "source", tmp_path / "in side/file", tmp_path / "back"
    source.write_bytes(os.urandom(2_500_000))
    source.chmod(0o750)
    fake.start()
    fake.copy_to(source, str(inside))
    assert inside.read_bytes() == source.read_bytes()
    assert inside.stat().st_mode & 0o7777 == 0o750
    fake.copy_from(str(inside), back)
    assert back.read_bytes() == source.read_bytes()


def test_directories_go_in_and_out(fake: Machine, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub/file").write_text("text")
    (source / "link").symlink_to("sub/file")
    fake.start()
    fake.copy_to(source, f"{tmp_path}/inside")
    fake.copy_from(f"{tmp_path}/inside", tmp_path / "back")
    assert (tmp_path / "back/link").read_text() == "text"
    assert (tmp_path / "back/link").is_symlink()


def test_screen_and_keys(fake: Machine, tmp_path: Path) -> None:
    fake.start()
    fake.screenshot(tmp_path / "screen.png")
    assert (tmp_path / "screen.png").read_bytes().startswith(b"\x89PNG")
    assert fake.wait_for_screen(colours=4, steady=0).colours() == 4
    fake.send_chars("aB")
    fake.send_key("ctrl-alt-f2")
    fake.wait_for_console_text("key a\nkey shift\\+b\nkey ctrl\\+alt\\+f2")
    with pytest.raises(MachineError, match="waited 0 s for a steady screen of 5 colours; it has 4"):
        fake.wait_for_screen(colours=5, timeout=0.1)


def test_limits_stretch(fake: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.start()
    fake.wait_for_shell()
    monkeypatch.setenv("VMTEST_TIMEOUT_FACTOR", "3")
    assert fake.succeed("sleep 1.5; echo in time", timeout=1) == "in time\n"
    monkeypatch.setenv("VMTEST_TIMEOUT_FACTOR", "often")
    with pytest.raises(MachineError, match="VMTEST_TIMEOUT_FACTOR=often is not a number"):
        fake.succeed("true")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_qemu_outlives_its_test(
    programs: Path, fake_spec: MachineSpec, tmp_path: Path, end: signal.Signals
) -> None:
    script = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from vmtest import *
        spec = MachineSpec(boot=DirectKernel(kernel=Path("k")))
        with Machine(spec, Path({str(tmp_path / "m")!r}), tell=lambda line: None) as machine:
            machine.start()
            machine.wait_for_shell()
            print(machine.pid, flush=True)
            machine.succeed("sleep 3")
    """)
    assert fake_spec.disks
    assert programs.is_dir()
    argv = [sys.executable, "-c", script]
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/src"}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=env) as test:
        assert test.stdout is not None
        pid = int(test.stdout.readline())
        qemu = os.pidfd_open(pid)
        test.send_signal(end)
        test.wait()
    assert select.select([qemu], [], [], 30)[0], "QEMU still runs"
    os.close(qemu)
