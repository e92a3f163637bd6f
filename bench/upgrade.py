"""Taking an update: ``atoll upgrade`` beside ``ostree pull`` and ``ostree admin deploy``.

Run as root: ``python -m bench.upgrade ROOT PLACE [ROUNDS]``. ROOT is a Debian root directory, as
mmdebstrap makes one; PLACE is a directory on a disk with room for six of it, where what is made is
kept for the next run. From ROOT come two versions of one tree: in the second one, the kernel,
firefox-esr and CHANGED other packages have new contents in all their files, and the kernel's initrd
and the package database are new.

Both tools fetch over HTTP from one nginx on loopback, write to the same file system, and flush as
they do by default. The first version is a pull into an empty store beside ostree's pull and deploy;
the second one an upgrade of a machine in a directory, from asking the registry to the boot entry,
with what is no longer kept removed. Then both go back to the first version, which is there, and to
the second one again. Before each step the disk is flushed. CPU is user and system time, memory the
peak of the whole process tree, bytes the bodies that nginx sent.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from http.client import HTTPConnection
from multiprocessing import Process
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.report import NullReporter
from atoll.debian.dpkg_database import read_owners
from atoll.oci.config import ImageConfig
from atoll.oci.layout import inspect_layout
from atoll.oci.layout_writer import NewImage, write_layout
from atoll.oci.reference import LayoutReference
from atoll.oci.system_label import read_system_label
from atoll.store.layout import open_store
from atoll.store.scan import import_directory
from atoll.store.tree_images import write_image
from atoll.tree.canonical import canonical
from atoll.tree.model import Directory
from vmtest.service import free_port, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANGED = 73
EPOCH = 1_788_000_000
DATABASE = "usr/lib/dpkg-database"
LAST = "/the-last-one"
NOTED_SECONDS = 10.0
SERVER = """
daemon off; worker_processes 1; pid {here}/nginx.pid; error_log {here}/log;
events {{}}
http {{ log_format sent '$uri $body_bytes_sent'; access_log {here}/sent sent;
  keepalive_requests 1000000; sendfile on;
  client_body_temp_path {here}/t1; proxy_temp_path {here}/t2; fastcgi_temp_path {here}/t3;
  uwsgi_temp_path {here}/t4; scgi_temp_path {here}/t5;
  server {{ listen 127.0.0.1:{port}; root {here};
    rewrite ^/v2/x/manifests/(v[12])$ /tags/$1 break;
    rewrite ^/v2/x/blobs/sha256:(.*)$ /layout/blobs/sha256/$1 break; }} }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    wall: float
    cpu: float
    memory_mib: float
    sent: int = 0
    requests: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            wall=self.wall + other.wall,
            cpu=self.cpu + other.cpu,
            memory_mib=max(self.memory_mib, other.memory_mib),
            sent=self.sent + other.sent,
            requests=self.requests + other.requests,
        )


def main() -> None:
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    source, place = Path(sys.argv[1]), Path(sys.argv[2]).absolute()
    rounds = int(sys.argv[3]) if len(sys.argv) == 4 else 1
    place.mkdir(exist_ok=True)
    place.chmod(0o755)
    prepare_ostree(source, place)
    if not (place / "layout" / "index.json").exists():
        prepare_atoll(place)
    with serving_versions(place) as port:
        for number in range(rounds):
            print(f"round {number + 1}")
            compare(place, port)


# ---------------------------------------------------------------- two versions, published


def prepare_ostree(source: Path, place: Path) -> None:
    """The two versions as directories, and as commits."""
    if (place / "v2").exists():
        return
    shutil.rmtree(place / "v1", ignore_errors=True)
    shutil.rmtree(place / "repo", ignore_errors=True)
    run("cp", "-a", "--reflink=auto", f"{source}", f"{place}/v1")
    shape(place / "v1")
    run("cp", "-a", "--reflink=auto", f"{place}/v1", f"{place}/new")
    change(place / "new")
    run("ostree", f"--repo={place}/repo", "init", "--mode=archive")
    for version, folder in (("v1", "v1"), ("v2", "new")):
        run(
            "ostree",
            f"--repo={place}/repo",
            "commit",
            f"--branch={version}",
            "--fsync=false",
            f"--tree=dir={place}/{folder}",
        )
    run("ostree", f"--repo={place}/repo", "summary", "-u")
    (place / "new").rename(place / "v2")


def shape(root: Path) -> None:
    """What both want to deploy: the kernel beside its modules, nothing in /var, no devices; /etc is
    at /usr/etc for ostree. ``publish`` puts it back."""
    (modules,) = (root / "usr/lib/modules").iterdir()
    facts = {
        "name": "x",
        "version": "1",
        "kernel": modules.name,
        "args": [],
        "suite": "trixie",
        "architecture": "amd64",
        "epoch": EPOCH,
    }
    (root / "usr/lib/atoll").mkdir()
    (root / "usr/lib/atoll/image.json").write_text(json.dumps(facts))
    (root / "usr/lib/atoll/packages.json").write_text("[]")
    (root / "boot" / f"vmlinuz-{modules.name}").rename(modules / "vmlinuz")
    (root / "boot" / f"initrd.img-{modules.name}").rename(modules / "initramfs.img")
    os.link(modules / "initramfs.img", modules / "initrd")
    (root / "var/lib/dpkg").rename(root / DATABASE)
    for name in ("boot", "dev", "run", "tmp", "var"):
        shutil.rmtree(root / name)
        (root / name).mkdir()
    (root / "etc").rename(root / "usr/etc")
    (root / "sysroot").mkdir()
    for link in [*root.glob("vmlinuz*"), *root.glob("initrd*")]:
        link.unlink()


def owners(root: Path) -> dict[bytes, str]:
    """Path in the tree to the package that ships it."""
    found = {}
    for path, package in read_owners(root / DATABASE).items():
        for old in ("/bin/", "/sbin/", "/lib/", "/lib64/"):
            if path.startswith(old):
                path = "/usr" + path
        found[os.fsencode(path)] = package
    return found


def change(root: Path) -> None:
    """Make version 2 of version 1."""
    found = owners(root)
    others = sorted(set(found.values()), key=lambda name: sha256(name.encode()).digest())
    kernels = [name for name in others if name.startswith("linux-image-")]
    packages = {*others[:CHANGED], *kernels, "firefox-esr"}
    paths = [
        Path(f"{root}{os.fsdecode(path)}")
        for path, package in found.items()
        if package in packages and not path.startswith(b"/etc/")
    ]
    (modules,) = (root / "usr/lib/modules").iterdir()
    paths += [modules / "vmlinuz", modules / "initramfs.img", root / DATABASE / "status"]
    size = 0
    for path in paths:
        if path.is_file() and not path.is_symlink():
            size += path.stat().st_size
            with path.open("ab") as file:
                file.write(b"version 2")
    print(f"changed: {len(packages)} of {len(others)} packages, {size / 1e6:.0f} MB")


def prepare_atoll(place: Path) -> None:
    for version in ("v1", "v2"):
        # A process of its own: what it needed would count as memory of all that start later.
        maker = Process(target=publish, args=(place, version))
        maker.start()
        maker.join()


def publish(place: Path, version: str) -> None:
    store = open_store(place / "maker", create=True)
    tree = canonical(
        with_etc(import_directory(store, place / version, NullReporter())), epoch=EPOCH
    )
    written = write_image(store, tree)
    config = ImageConfig(
        name="x",
        version=version,
        created=EPOCH,
        architecture="amd64",
        system=read_system_label(store, written),
    )
    image = NewImage(tree=written, config=config, owner_of=owners(place / version))
    target = LayoutReference(directory=str(place / "layout"), tag=version)
    start = time.monotonic(), time.process_time()
    digest = write_layout(store, image, target, NullReporter())
    wall, cpu = time.monotonic() - start[0], time.process_time() - start[1]
    (place / "tags").mkdir(exist_ok=True)
    blob = place / "layout" / "blobs" / "sha256" / digest.removeprefix("sha256:")
    shutil.copyfile(blob, place / "tags" / version)
    layers = inspect_layout(target).manifest.layers
    size = sum(each.size for each in layers) / 1e6
    print(
        f"{version}: {len(layers)} layers of {size:.1f} MB, {wall:.1f} s ({cpu:.1f} CPU) to write"
    )


def with_etc(tree: Directory) -> Directory:
    """``/usr/etc`` is ``/etc``."""
    usr = tree.entries[b"usr"]
    assert isinstance(usr, Directory)
    rest = {name: node for name, node in usr.entries.items() if name != b"etc"}
    entries = {**tree.entries, b"usr": replace(usr, entries=rest), b"etc": usr.entries[b"etc"]}
    return replace(tree, entries=entries)


# ---------------------------------------------------------------- served, and fetched


def read_sent(place: Path) -> list[int]:
    """The bytes of every answer so far. The server notes an answer after its client has it, and one
    after the other, so the note of a last request of our own is waited for."""
    connection = HTTPConnection("127.0.0.1", int((place / "port").read_text()), timeout=10)
    connection.request("GET", LAST)
    connection.getresponse().read()
    connection.close()
    deadline = time.monotonic() + NOTED_SECONDS
    while time.monotonic() < deadline:
        rows = [line.split() for line in (place / "sent").read_text().splitlines()]
        if rows and rows[-1][0] == LAST:
            return [int(sent) for _, sent in rows[:-1]]
        time.sleep(0.01)
    raise SystemExit(f"nginx does not note what it sends; its words: {place / 'log'}")


@contextmanager
def serving_versions(place: Path) -> Iterator[int]:
    port = free_port()
    (place / "port").write_text(str(port))
    (place / "conf").write_text(SERVER.format(here=place, port=port))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    argv = [program, "-e", f"{place}/log", "-c", f"{place}/conf"]
    with serving(argv, port=port, log=place / "words"):
        yield port


def compare(place: Path, port: int) -> None:
    sysroot = place / "sysroot"
    remove(sysroot)
    remove(place / "ours")
    sysroot.mkdir()
    run("ostree", "admin", "init-fs", f"{sysroot}")
    run("ostree", "admin", "os-init", f"--sysroot={sysroot}", "x")
    repo = f"--repo={sysroot}/ostree/repo"
    run("ostree", repo, "remote", "add", "--no-gpg-verify", "o", f"http://127.0.0.1:{port}/repo")
    os.environ["PYTHONPATH"] = "src"
    atoll = [sys.executable, "-m", "atoll.cli.main"]
    image = f"docker://127.0.0.1:{port}/x"
    deploy = ["ostree", "admin", "deploy", f"--sysroot={sysroot}", "--os=x", "--no-prune"]
    machine = place / "ours"

    def theirs(version: str) -> tuple[Cost, Cost]:
        return (
            measure(place, ["ostree", repo, "pull", "o", version]),
            measure(place, [*deploy, f"o:{version}"]),
        )

    store = place / "store"
    remove(store)
    pull = [*atoll, "pull", "--quiet", "--store", f"{store}", f"{image}:v1"]
    tell("v1", {"atoll pull": measure(place, pull)}, *theirs("v1"))
    install = ["install", "store:x", "--store", f"{store}", "--follow", f"{image}:v2"]
    run(*atoll, *install, "--quiet", "--root", f"{machine}", "--into-directory")
    remove(store)

    def change(*words: str) -> Cost:
        return measure(place, [*atoll, *words, "--quiet", "--root", f"{machine}"])

    upgraded = change("upgrade")
    tell("v2", {"atoll upgrade": upgraded}, *theirs("v2"))
    nothing = measure(place, [*atoll, "plan", "--quiet", "--root", f"{machine}"], code=77)
    print(f"plan with nothing to do: {nothing.wall:.2f} s")
    back = change("rollback", "1")
    tell("back", {"atoll rollback": back}, None, measure(place, [*deploy, "o:v1"]))
    again = change("rebase", "--even-held", f"{image}:v2")
    tell("again", {"atoll rebase": again}, None, measure(place, [*deploy, "o:v2"]))


def tell(title: str, ours: dict[str, Cost], pulled: Cost | None, deployed: Cost) -> None:
    """The figures of one step, and what ours took for each of theirs."""
    rows = {**ours, **({"ostree pull": pulled} if pulled else {}), "ostree deploy": deployed}
    for name, cost in rows.items():
        print(
            f"{title:6}{name:15}{cost.wall:7.2f} s {cost.cpu:7.2f} s CPU "
            f"{cost.memory_mib:6.1f} MiB {cost.sent / 1e6:9.2f} MB {cost.requests:6} requests"
        )
    (one,) = ours.values()
    both = pulled + deployed if pulled else deployed
    sent = f", bytes {one.sent / both.sent:.2f}" if both.sent else ""
    print(f"{title:6}ratio: wall {one.wall / both.wall:.2f}, CPU {one.cpu / both.cpu:.2f}{sent}")


def measure(place: Path, command: list[str], *, code: int = 0) -> Cost:
    """Run a program to its end, with exit code ``code``; what it and its children took."""
    os.sync()
    (place / "sent").write_bytes(b"")
    start = time.monotonic()
    silent = subprocess.DEVNULL if code else None
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=silent)
    peak = [0]
    ended = threading.Event()
    watcher = threading.Thread(target=watch, args=(process.pid, peak, ended))
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    ended.set()
    watcher.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != code:
        raise SystemExit(f"{command} ended with {process.returncode}")
    sent = read_sent(place)
    return Cost(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        memory_mib=peak[0] / 1024,  # usage.ru_maxrss counts this process, too: it was forked
        sent=sum(sent),
        requests=len(sent),
    )


def watch(root: int, peak: list[int], ended: threading.Event) -> None:
    """Note the most that a process and its children have had resident, in KiB."""
    while not ended.wait(0.02):
        peak[0] = max(peak[0], sum(map(most_resident, family(root))))


def family(root: int) -> list[int]:
    found = [root]
    for process in found:
        try:
            for task in Path(f"/proc/{process}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:
            continue  # it has ended
    return found


def most_resident(process: int) -> int:
    try:
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    except OSError:
        pass  # it has ended
    return 0


def remove(place: Path) -> None:
    """Remove a directory even where ostree has made what is in it immutable."""
    if place.exists():
        subprocess.run(["chattr", "-R", "-f", "-i", f"{place}"], check=False)
        shutil.rmtree(place)


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
