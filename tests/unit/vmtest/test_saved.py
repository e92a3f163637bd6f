"""Saved states of a machine: written whole, begun at again, never taken for another machine's."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from vmtest import Disk, Machine, MachineError, MachineSpec, UserNetwork, Writes
from vmtest.saved import KEPT, check_savable, digest_file, ensure_saved, state_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    PutProgram = Callable[[str, str], Path]


@pytest.fixture
def saved(fake: Machine, tmp_path: Path) -> Path:
    fake.start()
    fake.wait_for_shell()
    (fake.directory / "disk0.qcow2").write_text("what it wrote")
    fake.save(tmp_path / "states/up")
    return tmp_path / "states/up"


@pytest.fixture
def begun(fake_spec: MachineSpec, saved: Path, tmp_path: Path) -> Machine:
    """Another machine of the same spec."""
    assert saved.is_dir()
    return Machine(fake_spec, tmp_path / "other", tell=lambda _: None)


def test_saving_ends_the_machine_and_leaves_no_part(fake: Machine, saved: Path) -> None:
    assert not fake.is_running()
    assert [path.name for path in saved.parent.iterdir()] == ["up"]
    assert (saved / "disk0.qcow2").read_text() == "what it wrote"


def test_another_machine_begins_there(begun: Machine, saved: Path) -> None:
    with begun:
        begun.restore(saved)
        assert begun.succeed("echo here") == "here\n"
        begun.wait_for_system()
        # What the console said before belongs to this boot, which was not done again.
        assert begun.console.text().count("booting") == 1


def test_its_clock_is_set(begun: Machine, saved: Path) -> None:
    with begun:
        begun.restore(saved)
        assert abs(float(begun.succeed("cat $RUNTIME_DIRECTORY/clock")) - time.time()) < 600


def test_its_disks_are_its_own(
    begun: Machine, saved: Path, fake_spec: MachineSpec, put_program: PutProgram
) -> None:
    put_program("qemu-img", '#!/bin/sh\nfor last; do :; done\necho "$@" >>"$last"\n')
    with begun:
        begun.restore(saved)
    words = f"-b {fake_spec.disks[0].image}"
    assert words in (begun.directory / "disk0.qcow2").read_text()
    assert (saved / "disk0.qcow2").read_text() == "what it wrote"


def test_after_a_power_cut_it_boots(begun: Machine, saved: Path) -> None:
    with begun:
        begun.restore(saved)
        begun.power_cut()
        begun.start()
        begun.wait_for_login_prompt()
        assert begun.console.path.read_text().count("booting") == 2


def test_a_state_that_cannot_be_read_is_told(begun: Machine, saved: Path) -> None:
    (saved / "memory.zst").write_text("something else")
    with begun, pytest.raises(MachineError, match=r"cannot begin at .*load of migration failed"):
        begun.restore(saved)


def test_a_state_that_cannot_be_written_leaves_nothing(
    fake: Machine, put_program: PutProgram, tmp_path: Path
) -> None:
    put_program("zstd", "#!/bin/sh\nexit 1\n")
    fake.start()
    with pytest.raises(MachineError, match="not transferred: load of migration failed"):
        fake.save(tmp_path / "states/up")
    assert list((tmp_path / "states").iterdir()) == []


def test_a_running_machine_begins_nowhere_else(fake: Machine, tmp_path: Path) -> None:
    fake.start()
    with pytest.raises(MachineError, match="runs already"):
        fake.restore(tmp_path)


def test_a_disk_written_in_place_is_refused(fake_spec: MachineSpec) -> None:
    direct = replace(fake_spec.disks[0], writes=Writes.DIRECT)
    with pytest.raises(MachineError, match=r"root\.img is written in place"):
        check_savable(replace(fake_spec, disks=(direct,)))


class Maker:
    """Counts how often a machine was booted for a state."""

    def __init__(self, spec: MachineSpec) -> None:
        self.spec = spec
        self.boots = 0

    def __call__(self, directory: Path) -> Machine:
        self.boots += 1
        machine = Machine(self.spec, directory, tell=lambda _: None)
        machine.start()
        return machine


@pytest.fixture
def kernel(tmp_path: Path, programs: Path) -> Path:
    """The file that ``fake_spec`` boots; the fake QEMU says its version."""
    program = programs / "qemu-system-x86_64"
    first, rest = program.read_text().split("\n", 1)
    asked = '[ "$1" != --version ] || { echo fake 1; exit; }'
    program.write_text(f"{first}\n{asked}\n{rest}")
    (tmp_path / "vmlinuz").write_text("a kernel")
    return tmp_path / "vmlinuz"


@pytest.mark.usefixtures("kernel")
def test_a_state_is_made_once(fake_spec: MachineSpec, tmp_path: Path) -> None:
    maker = Maker(fake_spec)

    def ask(_: int) -> Path:
        return ensure_saved(fake_spec, tmp_path / "states", "up", maker)

    with ThreadPoolExecutor(4) as several:
        places = set(several.map(ask, range(8)))
    assert len(places) == 1 and maker.boots == 1
    folders = [path for path in (tmp_path / "states").iterdir() if path.is_dir()]
    assert set(folders) == places


@pytest.mark.usefixtures("kernel")
def test_a_boot_that_fails_leaves_no_state(fake_spec: MachineSpec, tmp_path: Path) -> None:
    def fail(directory: Path) -> Machine:
        directory.mkdir()
        raise MachineError("it does not come up")

    with pytest.raises(MachineError, match="it does not come up"):
        ensure_saved(fake_spec, tmp_path / "states", "up", fail)
    assert [path.name for path in (tmp_path / "states").iterdir()] == ["up.lock"]


@pytest.mark.usefixtures("kernel")
def test_only_the_states_used_last_are_kept(fake_spec: MachineSpec, tmp_path: Path) -> None:
    maker = Maker(fake_spec)
    places = []
    for memory in range(512, 512 + KEPT + 2):
        spec = replace(fake_spec, memory=memory)
        places.append(ensure_saved(spec, tmp_path / "states", "up", maker))
        os.utime(places[-1], (memory, memory))
    assert [place.is_dir() for place in places] == [False, False, *[True] * KEPT]


class TestKey:
    """What a state depends on is in its name, and nothing else."""

    def test_contents_and_words_count(self, fake_spec: MachineSpec, kernel: Path) -> None:
        image = fake_spec.disks[0].image
        keys = [state_key(fake_spec), state_key(replace(fake_spec, memory=512))]
        kernel.write_text("another kernel")
        keys.append(state_key(fake_spec))
        image.write_bytes(b"a disk")
        keys.append(state_key(fake_spec))
        image.write_bytes(b"another disk")
        keys.append(state_key(fake_spec))
        assert len(set(keys)) == len(keys)

    def test_the_day_counts(
        self, fake_spec: MachineSpec, kernel: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert kernel.exists()
        today = state_key(fake_spec)
        monkeypatch.setattr("vmtest.saved._today", lambda: "2001-01-01")
        assert state_key(fake_spec) != today

    def test_places_and_ports_do_not(
        self, fake_spec: MachineSpec, kernel: Path, tmp_path: Path
    ) -> None:
        assert kernel.exists()
        moved = tmp_path / "moved.img"
        moved.write_bytes(fake_spec.disks[0].image.read_bytes())
        here = replace(fake_spec, network=UserNetwork(ssh_port=2222))
        there = replace(here, network=UserNetwork(ssh_port=3333), disks=(Disk(image=moved),))
        assert state_key(here) == state_key(there) != state_key(fake_spec)


@pytest.mark.parametrize("place", [1 << 20, (1 << 20) + (3 << 12)])
def test_holes_count_like_zeros(place: int, tmp_path: Path) -> None:
    solid, sparse, other = (tmp_path / name for name in ("solid", "sparse", "other"))
    tail, size = b"x" * 70000, 3 << 20
    solid.write_bytes((bytes(place) + tail).ljust(size, b"\0"))
    for path, start in ((sparse, place), (other, place + 1)):
        with path.open("wb") as file:
            file.seek(start)
            file.write(tail)
            file.truncate(size)
    digests = [digest_file(path, (path.stat().st_size, 0)) for path in (solid, sparse, other)]
    assert digests[0] == digests[1] != digests[2]
