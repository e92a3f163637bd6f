"""The pytest plugin, in a pytest of its own with the fake QEMU."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[3]
HEAD = """
from pathlib import Path
import pytest
from vmtest import DirectKernel, Disk, MachineSpec

@pytest.fixture
def machine_spec(tmp_path):
    (tmp_path / "image").touch()
    return MachineSpec(
        boot=DirectKernel(kernel=Path("k")), disks=(Disk(image=tmp_path / "image"),)
    )

"""


def outcome(
    pytester: pytest.Pytester, body: str, monkeypatch: pytest.MonkeyPatch
) -> pytest.RunResult:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile(HEAD + body)
    return pytester.runpytest_inprocess("-p", "vmtest.plugin", "-rs", "--basetemp=t")


@pytest.mark.usefixtures("programs")
def test_a_story_that_goes_well(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    body = """
def test_it(machine, subtest, capsys):
    machine.start()
    with subtest("it answers"):
        assert machine.succeed("echo hello") == "hello\\n"
    assert "== it answers: " in capsys.readouterr().out
"""
    outcome(pytester, body, monkeypatch).assert_outcomes(passed=1)
    assert list(pytester.path.glob("t/*/machine/console.log"))
    assert not list(pytester.path.glob("t/*/machine/*.qcow2"))


@pytest.mark.usefixtures("programs")
def test_a_failed_assertion_shows_the_test_and_the_console_only(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """
def test_it(machine, subtest):
    machine.start()
    with subtest("it does what it cannot"):
        machine.succeed("echo why >&2; exit 5")
"""
    result = outcome(pytester, body, monkeypatch)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*RequestFailed: machine: exit status 5 of: echo why*",
            "*in the part: it does what*",
            "*- console tail: machine *",
            "fake login:*",
        ],
    )
    result.stdout.no_fnmatch_line("*vmtest/machine.py:*")
    assert list(pytester.path.glob("t/*/machine/disk0.qcow2"))


@pytest.mark.usefixtures("programs")
def test_a_broken_machine_shows_its_console_once(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """
def test_it(machine):
    machine.start()
    machine.succeed("systemctl crash")
"""
    result = outcome(pytester, body, monkeypatch)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*MachineError: machine: the machine is gone*"])
    result.stdout.no_fnmatch_line("*vmtest/channel.py:*")
    assert result.stdout.str().count("fake login:") == 1


@pytest.mark.usefixtures("programs")
def test_several_machines(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    body = """
def test_it(machine_factory, machine_spec):
    one, two = (machine_factory(machine_spec, name=name) for name in ("one", "two"))
    one.start()
    two.start()
    assert one.pid != two.pid
    assert one.succeed("echo 1") + two.succeed("echo 2") == "1\\n2\\n"
"""
    outcome(pytester, body, monkeypatch).assert_outcomes(passed=1)


def test_without_qemu_it_skips_and_says_why(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(pytester.path))
    result = outcome(pytester, "def test_it(machine):\n    machine.start()\n", monkeypatch)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*qemu-system-x86_64 is not here: apt install qemu-system-x86*"])


def test_a_test_without_a_spec_is_told(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile("def test_it(machine):\n    pass\n")
    result = pytester.runpytest_inprocess("-p", "vmtest.plugin")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*define a fixture machine_spec*"])
