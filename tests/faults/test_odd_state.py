"""Each file of a machine is something else than Atoll left there: a directory, a pipe, a link to a
device, noise, a file without end, one that the disk cannot read. No verb waits, none ends without
a word of its own, and what is whole stays whole."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from itertools import product
from typing import TYPE_CHECKING

import pytest

from atoll.base.report import NullReporter
from atoll.cli.main import main
from atoll.machine.deployments.flags import Hold, set_hold
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import find_sysroot
from atoll.machine.health.bless import bless
from tests.machines import Maker, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

pytestmark = pytest.mark.root

PATIENCE = 60
"""Seconds, for a pipe that nobody writes to: not how fast a verb must be."""
GIVEN_UP = 99
VERBS = (
    "status",
    "status --json",
    "plan",
    "upgrade",
    "rollback",
    "rollback 1",
    "etc",
    "etc diff",
    "etc reset /etc/motd",
    "health",
    "pin 2",
    "unpin 1",
    "history",
    "cancel",
    "gc",
    "gc --damaged",
)
SAMPLE = 48


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine with all that one can have: three deployments, marks, conflicts, a download."""
    folder = tmp_path_factory.mktemp("template")
    maker = Maker(folder / "maker")
    one = maker.publish("1", {"etc/motd": "one\n"})
    machine = maker.install(folder / "machine", one, follow=maker.follow())
    root = ["--root", str(machine.root)]
    write(machine.deployments / "1/etc/upper", {"motd": "mine\n", "hosts": "x\n"})
    maker.publish("2", {"etc/motd": "two\n"}, kernel="6.13-two")
    assert main(["upgrade", *root]) == 0
    assert main(["pin", "1", *root]) == 0
    bless(find_sysroot(machine.root), 2, NullReporter())
    three = maker.publish("3", {"etc/motd": "three\n"}, kernel="6.14-three")
    assert main(["upgrade", *root]) == 0
    hold = Hold(deployment=3, version="3", why="it failed", when=1)
    set_hold(machine.state, three.tree, hold).execute()
    write(machine.state / "tries/3", {"1-started": "atoll-9+2-1.conf\n", "1-failed": "why\n"})
    maker.publish("4", {"etc/motd": "four\n"}, kernel="6.14-three")
    assert main(["upgrade", "--download-only", *root]) == 0
    return machine.root


def places(root: Path) -> list[str]:
    """All but the objects, of which one stands for all, and what only exists to be locked."""
    found = [str(path.relative_to(root)) for path in sorted(root.rglob("*"))]
    objects = [name for name in found if name.startswith("atoll/objects/")]
    others = [name for name in found if name not in objects and "lock" not in name]
    return [*others, next(name for name in objects if name.count("/") == 3)]


def become_directory(path: Path) -> None:
    path.mkdir()
    (path / "1").write_text("x")


def become_huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(40 << 30)


ODD: dict[str, Callable[[Path], object]] = {
    "a directory": become_directory,
    "a pipe": os.mkfifo,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "noise": lambda path: path.write_bytes(b"\x1b[31m\0\xff{[[\n" * 3),
    "nothing": lambda path: path.touch(),
    "without end": become_huge,
    "unreadable": lambda path: path.touch(),
}


def spoil(path: Path, odd: str) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    ODD[odd](path)
    if odd == "unreadable":
        # Reading the start of a process's memory is an error of input and output.
        memory = f"/proc/{os.getpid()}/mem"
        subprocess.run(["mount", "--bind", memory, path], check=True)


def run_verb(verb: str, root: Path, out: Path) -> int:
    """A verb of the machine in ``root``, as ``run_words`` does it."""
    return run_words([*verb.split(), "--root", str(root)], out)


def run_words(words: list[str], out: Path) -> int:
    """In a child, which is given up when it waits; what it says is in ``out``."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = GIVEN_UP
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        signal.signal(signal.SIGALRM, lambda *_: os._exit(GIVEN_UP))
        signal.alarm(PATIENCE)
        code = main(words)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def whole_deployments(root: Path, but: str) -> set[str]:
    """What is there of the deployments that were not spoiled, and of their trees."""
    found = (*root.glob("atoll/images/*"), *root.glob("atoll/deployments/*/deployment.json"))
    return {str(path) for path in found if but not in str(path)}


def cases(config: pytest.Config, root: Path) -> Iterable[tuple[str, str, str]]:
    every = [
        case
        for case in product(places(root), ODD, VERBS)
        # What a person has in /etc may be as large as it is: it takes its time.
        if not (case[1] == "without end" and any(part in case[0] for part in ("upper/", "image/")))
    ]
    return every if config.getoption("--long") else random.Random(9).sample(every, SAMPLE)


def test_no_verb_waits_or_breaks_down_or_loses_what_is_whole(
    template: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    wrong: list[tuple[object, ...]] = []
    for place, odd, verb in cases(request.config, template):
        root = tmp_path / "machine"
        shutil.copytree(template, root, symlinks=True)
        spoil(root / place, odd)
        before = whole_deployments(root, place)
        try:
            code = run_verb(verb, root, tmp_path / "out")
        finally:
            if odd == "unreadable":
                subprocess.run(["umount", "--lazy", root / place], check=False)
        said = (tmp_path / "out").read_text(errors="replace")
        # What policy lets go goes when a verb ends well; one that cannot do its work loses nothing.
        lost = before - whole_deployments(root, place) if code else set()
        if code in (70, GIVEN_UP) or code < 0 or "Traceback" in said or lost:
            wrong.append((place, odd, verb, code, said[-300:], lost))
        elif any(ord(letter) < 32 and letter not in "\n\t" for letter in said):
            wrong.append((place, odd, verb, "control characters", said[-300:], set()))
        shutil.rmtree(root)
    assert not wrong, "\n".join(map(str, wrong))


SILENT = (
    "/etc/",
    "atoll.toml",
    "staging",
    "downloads",
    "EFI",
    "loader.conf",
    "/var",
    "tries",
    "conflicts",
    "/image/",
    "layers",
    "refs/",
    "blessed/",
    "pinned/",
)
"""What ``status`` does not look at, or what no boot needs."""


@pytest.mark.parametrize("odd", ["a pipe", "noise", "unreadable"])
def test_status_says_what_it_cannot_read(template: Path, tmp_path: Path, odd: str) -> None:
    root = tmp_path / "machine"
    shutil.copytree(template, root, symlinks=True)
    main_out = tmp_path / "out"
    assert run_verb("status", root, main_out) == 0
    good = main_out.read_text()
    silent = []
    booted = {each.deployment.tree for each in read_state(find_sysroot(root)).deployments}
    for place in places(root):
        path = root / place
        if "/images/" in place and path.name not in booted:
            continue  # what was only downloaded
        if odd == "noise" and path.name == "history":
            continue  # lines that are none are left out: a cut may leave half of one
        if path.is_dir() or "/objects/" in place or any(each in place for each in SILENT):
            continue
        if odd == "noise" and ("/images/" in place or place.endswith(("/linux", "/initrd"))):
            continue  # found by reading all of it: a check of the way back, or of the store
        kept = path.read_bytes()
        spoil(path, odd)
        code = run_verb("status", root, main_out)
        if odd == "unreadable":
            subprocess.run(["umount", path], check=True)
        path.unlink()
        path.write_bytes(kept)
        if code == 0 and main_out.read_text() == good:
            silent.append(place)
    assert silent == []


@pytest.mark.parametrize("place", ["index.json", "oci-layout", "blobs/sha256/*"])
def test_an_image_on_a_failing_stick_is_named(tmp_path: Path, place: str) -> None:
    maker = Maker(tmp_path / "maker")
    reference = maker.publish("1").reference
    for path in sorted((tmp_path / "maker/layout").glob(place)):
        kept = path.read_bytes()
        spoil(path, "unreadable")
        words = f"pull {reference} --store {tmp_path / 'store'}"
        out = tmp_path / "out"
        code = run_words(words.split(), out)
        subprocess.run(["umount", path], check=True)
        path.unlink()
        path.write_bytes(kept)
        shutil.rmtree(tmp_path / "store", ignore_errors=True)
        assert code in (0, 1, 8) and (code == 0 or path.name in out.read_text()), out.read_text()


DISPLACED = (
    "state",
    "state/pinned",
    "state/held",
    "state/conflicts",
    "state/tries",
    "state/numbers.json",
    "state/history",
    "state/lock",
    "state/entries.json",
    "var",
    "staging",
    "refs",
    "layers",
    "refs/downloaded.json",
    "store-lock",
)


@pytest.mark.parametrize("odd", ["noise", "a link to itself", "a pipe", "a directory"])
def test_what_stands_in_the_way_is_kept_aside_and_told(
    template: Path, tmp_path: Path, odd: str
) -> None:
    """And ``plan``, which said yes, was right."""
    for name in DISPLACED:
        root = tmp_path / "machine"
        shutil.copytree(template, root, symlinks=True)
        place = root / "atoll" / name
        if not place.exists():
            place.mkdir()
        # Noise in a file is read as noise, not displaced.
        if (place.is_dir(), odd) in ((True, "a directory"), (False, "noise")):
            shutil.rmtree(root)
            continue
        spoil(place, odd)
        said = tmp_path / "out"
        for verb in ("upgrade", "rollback number:1 --keep-etc"):
            assert run_verb(f"plan {verb}", root, said) == 0, (name, said.read_text())
            assert run_verb(verb, root, said) == 0, (name, said.read_text())
        assert os.path.lexists(place.with_name(f"{place.name}.displaced-1"))
        assert run_verb("status", root, said) == 0
        assert ".displaced-1" in said.read_text()
        shutil.rmtree(root)


@pytest.mark.parametrize("odd", ["noise", "a link to itself", "a directory"])
@pytest.mark.parametrize("part", ["esp/atoll/*", "esp/atoll/*/initrd"])
def test_a_kernel_that_is_none_is_kept_aside(
    template: Path, tmp_path: Path, part: str, odd: str
) -> None:
    root = tmp_path / "machine"
    shutil.copytree(template, root, symlinks=True)
    for place in sorted(root.glob(part)):
        if (place.is_dir(), odd) != (True, "a directory"):
            spoil(place, odd)
    assert run_verb("upgrade", root, tmp_path / "out") == 0, (tmp_path / "out").read_text()
    state = read_state(find_sysroot(root))
    assert state.default is not None and state.default.flaw == ""
