"""A system small enough to be built on many times in a test, with the real builder.

It has no systemd and boots nowhere: a shell, dpkg, apt and what they need, copied from the computer
that runs the test, in the image layout. A package takes about a second to be added to it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.cli.main import main
from atoll.machine.deployments import sysroot
from tests.archive import EPOCH, Archive, make_key, serve
from tests.machines import Maker
from tests.programs.standin import MAKE_INITRD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tests.machines import Published

_PROGRAMS = (
    *("sh", "cat", "chmod", "cp", "echo", "env", "head", "ln", "mkdir", "mv", "printf", "rm"),
    *("tar", "test", "true", "xargs", "find", "sed", "grep", "sort", "diff"),
    *("dpkg", "dpkg-deb", "dpkg-divert", "dpkg-query", "dpkg-split", "apt-get"),
    *("start-stop-daemon", "ldconfig", "install", "chown", "rmdir", "touch"),
)
_METHODS = Path("/usr/lib/apt/methods")
_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")
_SYSTEMCTL = "#!/bin/sh\nexit 0\n"
_STATUS = """\
Package: {name}
Status: install ok installed
Priority: required
Section: admin
Maintainer: Tests <tests@example.org>
Architecture: all
Version: {version}
Description: for tests

"""
_DATABASE = "usr/lib/atoll/var/lib/dpkg"
_MMDEBSTRAP = """#!/bin/sh
# Stands for the program that knows Debian's mirror: it writes down the test's archive.
for word in "$@"; do
    case $word in --setup-hook=*) echo "deb {url} trixie main" > "${{word##* }}" ;; esac
done
"""
BASE_PACKAGES = ("atoll-system", "base-files", "nano")
"""What the database of the tiny system lists. Only ``nano`` has a file."""


def make_tiny_root(root: Path) -> None:
    """Programs, libraries and the package database, in the image layout."""
    programs = [Path(path) for name in _PROGRAMS if (path := shutil.which(name))]
    methods = [_METHODS / name for name in ("copy", "file", "store")]
    for program in (*programs, *methods, *_libraries([*programs, *methods])):
        _copy(program, root / _in_usr(program))
    for table in Path("/usr/share/dpkg").glob("*table"):
        _copy(table, root / _in_usr(table))
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    for name in ("info", "updates", "triggers", "alternatives", "parts"):
        (root / _DATABASE / name).mkdir(parents=True)
    _script(root / "usr/bin/nano", "#!/bin/sh\n")
    _script(root / "usr/bin/systemctl", _SYSTEMCTL)
    _script(root / "usr/lib/atoll/make-initrd", MAKE_INITRD)
    (root / "usr/lib/atoll/factory/var/log/apt").mkdir(parents=True)
    (root / "usr/lib/atoll/tree-owned").write_text("/var/lib/dpkg\n")
    (root / "usr/local").mkdir()
    for name in ("efi", "home", "root", "srv", "mnt", "media", "opt"):
        (root / name).mkdir()
    (root / "etc/dpkg/dpkg.cfg.d").mkdir(parents=True)
    (root / "etc/apt/apt.conf.d").mkdir(parents=True)


def _write_database(root: Path, packages: Mapping[str, str]) -> None:
    database = root / _DATABASE
    (database / "status").write_text(
        "".join(_STATUS.format(name=name, version=packages[name]) for name in packages)
    )
    for name in packages:
        listed = "/.\n/usr\n/usr/bin\n/usr/bin/nano\n" if name == "nano" else "/.\n"
        (database / f"info/{name}.list").write_text(listed)


def _in_usr(path: Path) -> str:
    text = str(path).lstrip("/")
    return text if text.startswith("usr/") else f"usr/{text}"


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755)


def _script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def _libraries(programs: Iterable[Path]) -> set[Path]:
    done = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False)
    return {Path(found) for found in _LIBRARY.findall(done.stdout)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    code: int
    told: str
    """What the person sees, of both outputs."""


@dataclass
class TinyWorld:
    """A package archive, and images of the tiny system that are published.

    ``archive`` has no package at first; the programs that choose packages believe its key and no
    other, and take it for Debian's."""

    folder: Path
    archive: Archive
    maker: Maker
    clock: int = EPOCH

    def name_mirror(self, url: str) -> None:
        """Programs find the archive at ``url`` from now on."""
        _script(self.folder / "bin/mmdebstrap", _MMDEBSTRAP.format(url=url))

    def publish(
        self, version: str, packages: Mapping[str, str] | None = None, *, name: str = "reef"
    ) -> Published:
        """An image whose database lists ``BASE_PACKAGES`` and ``packages``."""
        root = self.maker.folder / f"root-{name}-{version}"
        shutil.copytree(self.folder / "tiny", root, symlinks=True)
        listed = dict.fromkeys(BASE_PACKAGES, "1") | dict(packages or {})
        _write_database(root, listed)
        files = {"etc/image-version": f"{name} {version}\n"}
        return self.maker.publish(version, files, name=name, packages=listed)

    def offer(self, *packages: tuple[str, str, dict[str, str]]) -> None:
        """Put packages (name, version, control fields) into the archive."""
        for name, version, fields in packages:
            self.archive.add("trixie", name, version, **fields)
        self.archive.publish()
        # Lists that change twice within a second are of the same time to HTTP.
        self.clock += 10
        for path in (self.archive.root / "dists").rglob("*"):
            os.utime(path, (self.clock, self.clock))


@contextmanager
def tiny_world(folder: Path) -> Iterator[TinyWorld]:
    """A world in ``folder``, whose path is short: an agent of GnuPG has its socket there."""
    make_tiny_root(folder / "tiny")
    key = make_key(folder / "k", "debian")
    archive = Archive(root=folder / "archive", key=key)
    archive.root.mkdir()
    believed = folder / "believed"
    believed.mkdir()
    shutil.copy(key.public, believed / "test.asc")
    (folder / "apt.conf").write_text(
        f'Dir::Etc::parts "/dev/null";\nDir::Etc::trustedparts "{believed}";\n'
        'Acquire::Retries "0";\n'
    )
    world = TinyWorld(folder=folder, archive=archive, maker=Maker(folder / "maker"))
    # apt copies from there: over HTTP it wants an address that is not of the loopback.
    world.name_mirror(f"copy:{archive.root}")
    try:
        yield world
    finally:
        key.end()


@contextmanager
def served_apart(world: TinyWorld) -> Iterator[int]:
    """The archive on loopback, by ``serve`` in a process of its own, which may be killed; its id.

    Tests fork, and a fork must not hold a thread's locks.
    """
    root = world.archive.root
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        with serve(root) as url:
            os.write(writer, url.encode())
            os.close(writer)
            signal.pause()
    os.close(writer)
    with os.fdopen(reader) as pipe:
        url = pipe.read()
    world.name_mirror(url)
    try:
        yield child
    finally:
        world.name_mirror(f"copy:{root}")
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def run_verb(
    world: TinyWorld,
    machine: Path | None,
    *words: str | Path,
    booted: int | None = None,
    before: Callable[[], object] = lambda: None,
) -> Done:
    """``atoll WORDS``, for the machine in ``machine`` if there is one, of which ``booted`` runs."""

    def work() -> int:
        # A machine says in /run which deployment runs; one in a directory has none.
        sysroot.Sysroot = partial(sysroot.Sysroot, booted=booted)  # type: ignore[assignment, misc]
        before()
        return main([*map(str, words), *(["--root", str(machine)] if machine else [])])

    return run_in_child(world, work)


def run_in_child(world: TinyWorld, work: Callable[[], int]) -> Done:
    """A build makes the mounts of its process its own, so every verb needs a process."""
    with tempfile.TemporaryFile() as told:
        child = os.fork()
        if not child:
            _become_child(world, work, told.fileno())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        told.seek(0)
        return Done(code=code, told=told.read().decode(errors="replace"))


def _become_child(world: TinyWorld, work: Callable[[], int], told: int) -> None:
    code = 70
    try:
        for number in (1, 2):
            os.dup2(told, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        os.environ["PATH"] = f"{world.folder / 'bin'}:{os.environ['PATH']}"
        os.environ["APT_CONFIG"] = str(world.folder / "apt.conf")
        sys.dont_write_bytecode = True
        code = work()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
