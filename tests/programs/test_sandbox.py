"""Programs of a root reach nothing but that root: real attempts in real sandboxes, as root and as a
person; and the machine's own hands are not led elsewhere by links in a root.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import NoSpace, ProgramFailed
from atoll.host.sandbox import Bind, Sandbox, keeping_free
from tests.programs import escapes
from tests.programs.test_rootless import made_maker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.root]

NAME, FIRST = "atoll-test-caught", (1 << 30) + (1 << 20)
ATTEMPTS = [
    name if not network else f"{name} with the network"
    for name in (*escapes.SHELL, *escapes.PYTHON)
    for network in (False, True)
    if not network or name in escapes.WITH_NETWORK
]
PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def as_root(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("root")
    words = [sys.executable, "-m", "tests.programs.escapes", str(folder)]
    environment = os.environ | {"PYTHONPATH": f"{PROJECT}/src:{PROJECT}"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results: dict[str, str] = json.loads(done.stdout)
    return results


@pytest.fixture(scope="module")
def as_person() -> Iterator[dict[str, str]]:
    with made_maker(NAME, FIRST) as maker:
        folder = maker.home / "src/tests/programs"
        folder.mkdir(parents=True)
        (folder / "escapes.py").write_bytes(Path(escapes.__file__).read_bytes())
        place = maker.home / "place"
        place.mkdir()
        os.chown(place, maker.uid, maker.uid)
        done = maker.run(maker.python, "-m", "tests.programs.escapes", place)
        assert done.returncode == 0, done.stderr
        yield json.loads(done.stdout)


@pytest.mark.parametrize("name", ATTEMPTS)
def test_no_program_of_a_build_gets_out_as_root(as_root: dict[str, str], name: str) -> None:
    if name not in as_root:
        pytest.skip("not possible here")
    assert as_root[name] == ""


@pytest.mark.parametrize("name", [name for name in ATTEMPTS if name not in escapes.ROOT_ONLY])
def test_no_program_of_a_build_gets_out_without_root(as_person: dict[str, str], name: str) -> None:
    if name not in as_person:
        pytest.skip("not possible here")
    assert as_person[name] == ""


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, tuple[Bind, ...]]:
    return escapes.make_root(tmp_path, privileged=False)


def test_a_program_is_stopped_before_it_fills_the_machine(tmp_path: Path) -> None:
    """What runs on a machine shares a file system with all its services."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80M", "test", disk], check=True)
    try:
        root, binds = escapes.make_root(disk, privileged=False)
        sandbox = Sandbox(root=root, binds=binds)
        with keeping_free(disk):
            sandbox.run(["true"])
            with pytest.raises(NoSpace, match=f"the file system of {disk} is nearly full"):
                sandbox.run(["sh", "-c", "head -c 30000000 /dev/zero > /big; sleep 1000"])
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("name", ["run", "tmp", "dev", "proc", "sys"])
def test_no_mount_goes_where_a_link_of_the_root_points(
    place: tuple[Path, tuple[Bind, ...]], tmp_path: Path, name: str
) -> None:
    root, binds = place
    machine = tmp_path / "machine"
    machine.mkdir()
    (root / name).rmdir()
    (root / name).symlink_to(machine)
    with pytest.raises(ProgramFailed, match="it is not a directory in the root"):
        Sandbox(root=root, binds=binds).run(["true"])
    assert list(machine.iterdir()) == []


@pytest.mark.parametrize("target", ["/etc/out/file", "/etc/out/a/file", "/etc/../../machine/x"])
@pytest.mark.parametrize("up", ["", "../../../../../../../../.."])
def test_a_bind_goes_nowhere_else(
    place: tuple[Path, tuple[Bind, ...]], tmp_path: Path, target: str, up: str
) -> None:
    root, binds = place
    machine = tmp_path / "machine"
    machine.mkdir()
    (tmp_path / "file").write_text("bound")
    (root / "etc/out").symlink_to(f"{up}{machine}")
    bind = Bind(source=tmp_path / "file", target=target)
    try:
        Sandbox(root=root, binds=(*binds, bind)).run(["true"])
    except ProgramFailed as error:
        # the link leads to nothing in the root
        assert "cannot create the sandbox" in error.stderr_tail
    assert list(machine.iterdir()) == []


def test_nothing_that_a_program_starts_outlives_it(place: tuple[Path, tuple[Bind, ...]]) -> None:
    root, binds = place
    script = "setsid sleep 61234 & setsid sh -c 'trap \"\" TERM; sleep 61234' & sleep 0.1"
    Sandbox(root=root, binds=binds).run(["sh", "-c", script])
    assert processes("61234") == []


def test_a_sandbox_ends_with_the_one_who_waits_for_it(
    place: tuple[Path, tuple[Bind, ...]], tmp_path: Path
) -> None:
    """However that ends: nobody may write to the root any more."""
    root, binds = place
    words = ["sh", "-c", "echo ready; exec sleep 61235"]
    code = (
        "import sys; from pathlib import Path; from atoll.host.sandbox import *\n"
        f"Sandbox(root=Path({str(root)!r}), binds=({binds!r})).run({words!r},"
        f" log=open({str(tmp_path / 'log')!r}, 'w+b'))"
    ).replace("PosixPath", "Path")
    environment = os.environ | {"PYTHONPATH": f"{PROJECT}/src"}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as process:
        wait_until(lambda: processes("61235") != [])
        process.kill()
    wait_until(lambda: processes("61235") == [])


def processes(word: str) -> list[int]:
    """Processes with exactly that argument."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


WORK = """
set -e
touch /etc/file; chown 5:6 /etc/file; chmod 6755 /etc/file
cp /usr/bin/true /etc/tool; setcap cap_net_raw=ep /etc/tool
[ "$(getcap /etc/tool)" = "/etc/tool cap_net_raw=ep" ]
mkfifo /etc/pipe
mkdir -p /etc/below/usr /etc/below/etc; ln -s usr/lib /etc/below/lib
ldconfig -r /etc/below
[ "$(setpriv --reuid 5 --regid 6 --clear-groups id -u)" = 5 ]
echo x >/dev/null; echo x 2>/dev/null >/dev/stderr; head -c 1 /dev/urandom >/dev/null
[ "$(nproc)" -gt 0 ]
ischroot
[ -z "$(ls -A /run/lock)" ]
ip -4 address show dev lo | grep -q 127.0.0.1
"""
"""What packages' scripts do that takes a capability, or something of the kernel's."""


def test_what_maintainer_scripts_need_works(place: tuple[Path, tuple[Bind, ...]]) -> None:
    root, binds = place
    Sandbox(root=root, binds=binds).run(["bash", "-c", WORK])
    status = (root / "etc/file").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (5, 6, 0o6755)


def test_a_program_that_is_not_there_is_named(place: tuple[Path, tuple[Bind, ...]]) -> None:
    root, binds = place
    with pytest.raises(ProgramFailed) as caught:
        Sandbox(root=root, binds=binds).run(["no-such-program"])
    assert caught.value.status == 127
    assert caught.value.stderr_tail == "no-such-program: No such file or directory"


def test_standard_input_and_output_are_passed(place: tuple[Path, tuple[Bind, ...]]) -> None:
    root, binds = place
    data = bytes(range(256)) * 4096
    assert Sandbox(root=root, binds=binds).run(["cat"], stdin=data) == data
    assert Sandbox(root=root, binds=binds).run(["cat"]) == b""


def test_a_root_that_is_mounted_without_links_has_them_inside(tmp_path: Path) -> None:
    """Hands from outside are led nowhere by a root's links; its own programs go where they say."""
    escapes.make_root(tmp_path, privileged=False)
    code = f"""
import os
from pathlib import Path
from atoll.host.mount import *
from atoll.host.sandbox import *
enter_private_mounts()
place = Path({str(tmp_path)!r})
for name in ("upper", "work", "merged"): (place / name).mkdir()
overlay = Overlay(base=place, lowers=("root",), upper="upper", work="work")
(place / "root/etc/out").symlink_to("/etc/machine-id")
with overlay_mounted(overlay, place / "merged", follow_links=False) as root:
    try: print((root / "etc/out").read_text())
    except OSError as error: print(error.errno)
    binds = (Bind(source=Path("/usr"), target="/usr"),)
    print(Sandbox(root=root, binds=binds).run(["sh", "-c", "cd /bin && echo inside"]).decode())
"""
    environment = os.environ | {"PYTHONPATH": f"{PROJECT}/src"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["40", "inside"], done.stderr
