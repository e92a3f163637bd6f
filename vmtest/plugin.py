"""The pytest plugin: machines that end with their test, timed parts of a story, console tails.

Name it in the root conftest: ``pytest_plugins = ["vmtest.plugin"]``.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from vmtest.errors import MachineError, hide_frames
from vmtest.machine import Machine
from vmtest.qemu import ensure_possible

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from vmtest.spec import MachineSpec

__tracebackhide__ = hide_frames

TAIL_LINES = 60
MACHINES: pytest.StashKey[list[Machine]] = pytest.StashKey()
FAILED: pytest.StashKey[bool] = pytest.StashKey()


class MachineFactory(Protocol):
    """Makes a machine that is switched off; the test's end is the machine's end."""

    def __call__(self, spec: MachineSpec, *, name: str = "machine") -> Machine: ...


@pytest.fixture
def machine_factory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MachineFactory]:
    """Makes machines; skips the test where QEMU or its firmware is missing."""
    machines: list[Machine] = []
    request.node.stash[MACHINES] = machines

    def make(spec: MachineSpec, *, name: str = "machine") -> Machine:
        try:
            ensure_possible(spec)
        except MachineError as error:
            pytest.skip(str(error))
        machine = stack.enter_context(Machine(spec, tmp_path / name, name=name))
        machines.append(machine)
        return machine

    with contextlib.ExitStack() as stack:
        yield make
    if not request.node.stash.get(FAILED, False):
        for machine in machines:
            machine.remove_disks()


@pytest.fixture
def machine_spec() -> MachineSpec:
    """What ``machine`` is made of; tests that use ``machine`` define their own."""
    raise pytest.UsageError("define a fixture machine_spec that returns a vmtest.MachineSpec")


@pytest.fixture
def machine(machine_factory: MachineFactory, machine_spec: MachineSpec) -> Machine:
    """The machine of ``machine_spec``, switched off."""
    return machine_factory(machine_spec)


@pytest.fixture
def subtest() -> Callable[[str], AbstractContextManager[None]]:
    """``with subtest("it comes back after a power cut"):`` names and times a part of a story."""
    return told


@contextlib.contextmanager
def told(title: str) -> Iterator[None]:
    """Say when a part begins and how it ended."""
    print(f"== {title}", flush=True)
    begin = time.monotonic()
    try:
        yield
    except BaseException as error:
        error.add_note(f"in the part: {title}")
        print(f"== {title}: failed after {time.monotonic() - begin:.1f} s", flush=True)
        raise
    print(f"== {title}: {time.monotonic() - begin:.1f} s", flush=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, None]:
    """Attach the consoles' last lines to the report of a failed test."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    if not report.failed:
        return
    item.stash[FAILED] = True
    if call.excinfo is not None and call.excinfo.errisinstance(MachineError):
        return  # the error itself shows the console
    for machine in item.stash.get(MACHINES, []):
        tail = machine.console.tail(TAIL_LINES)
        report.sections.append((f"console tail: {machine.name} ({machine.console.path})", tail))
