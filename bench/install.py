"""From power-on to the login prompt of an installed system, compared with Debian's installer.

    python -m bench.install WORKDIR [--memory MIB]

Both machines are the same: one processor, UEFI, an empty virtio disk of 8 GB. Debian's installer is
the netboot one, preseeded, with packages from a proxy on loopback. Atoll's is a live stick that
installs itself, with an answers file and no network. Its image has the packages that Debian's
installer has installed, but for the boot loader and what makes the initrd.

What counts is power-on, the installation, power-off, and the first start up to ``login:`` on the
console. Not counted are what is prepared once for many computers (the packages, the image, the
stick), and for Debian the seconds that the proxy waits for the mirror: that is the one in apt's
configuration. WORKDIR keeps what was fetched; without WORKDIR/mirror newer packages are fetched.
Without KVM it takes hours. Needs root, the mirror, and space for 15 GB.
"""

from __future__ import annotations

import argparse
import json
import lzma
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.tree.cpio import format_cpio
from examples.install_tour import HASHED
from vmtest import Disk, Interface, Machine, MachineError, MachineSpec, UserNetwork, Writes
from vmtest.emulator import Ending

if TYPE_CHECKING:
    from collections.abc import Iterator

SUITE = "trixie"
NETBOOT = "debian-installer-13-netboot-amd64"
"""The package with the installer: not every mirror has its images beside the packages."""
INCLUDED = "openssh-server sudo python3 less nano"
DISK_SIZE = 8 << 30
MEMORY = 1536
LONGEST = 6 * 3600.0
HOST = "10.0.2.2"
"""The host, as a machine behind QEMU's address translation sees it."""
TARGET = 0.5
SETUP = 64 << 10
"""Bytes at the begin of a kernel that have its version."""
QUESTION = "Prompt: '?' for help"
HELPER = "/usr/lib/apt/apt-helper"
KERNEL = "auto=true priority=critical DEBIAN_FRONTEND=text console=ttyS0 --- console=ttyS0"
PRESEED = """\
d-i debian-installer/locale string C.UTF-8
d-i keyboard-configuration/xkb-keymap select us
d-i netcfg/choose_interface select auto
d-i netcfg/get_hostname string reef
d-i netcfg/get_domain string unassigned-domain
d-i hw-detect/load_firmware boolean false
d-i mirror/country string manual
d-i mirror/protocol string http
d-i mirror/http/hostname string {host}
d-i mirror/http/directory string /debian
d-i mirror/http/proxy string
d-i mirror/suite string {suite}
d-i passwd/root-login boolean false
d-i passwd/user-fullname string Ada Lovelace
d-i passwd/username string ada
d-i passwd/user-password-crypted password {hashed}
d-i clock-setup/utc boolean true
d-i clock-setup/ntp boolean false
d-i time/zone string Etc/UTC
d-i partman-auto/disk string /dev/vda
d-i partman-auto/method string regular
d-i partman-auto/choose_recipe select atomic
d-i partman-efi/non_efi_system boolean true
d-i partman-partitioning/choose_label select gpt
d-i partman-partitioning/confirm_write_new_label boolean true
d-i partman/choose_partition select finish
d-i partman/confirm boolean true
d-i partman/confirm_nooverwrite boolean true
d-i apt-setup/services-select multiselect
d-i apt-setup/enable-source-repositories boolean false
tasksel tasksel/first multiselect
d-i pkgsel/include string {packages}
d-i pkgsel/upgrade select none
d-i pkgsel/update-policy select none
popularity-contest popularity-contest/participate boolean false
d-i grub-installer/only_debian boolean true
d-i grub-installer/with_other_os boolean false
d-i grub-installer/force-efi-extra-removable boolean true
d-i finish-install/reboot_in_progress note
d-i debian-installer/exit/poweroff boolean true
"""
ANSWERS = """\
schema = 1

[target]
disk = "/dev/vda"
erase = true

[user]
name = "ada"
gecos = "Ada Lovelace"
password = "{hashed}"

[system]
hostname = "reef"
"""
RECIPE = """\
schema = 1
from = "debian:{suite}"

[image]
name = "bench"
version = "1"

[packages]
install = {packages}

[kernel]
package = "linux-image-amd64"
args = ["console=ttyS0"]

[system]
locale = "C.UTF-8"
"""
OWN = ("systemd-boot", "cryptsetup", "dosfstools", "e2fsprogs", "fdisk", "mtools", "efibootmgr")
"""What an image needs to start and to install itself, whatever is in it beside that."""
LEFT_OUT = ("grub", "shim-", "linux-image-", "initramfs-tools", "klibc-utils", "libklibc")
LEFT_OUT_WHOLE = frozenset({"os-prober", "mokutil", "installation-report", "task-english"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds from power-on to power-off, and from there to the login prompt; ``waited`` is how
    much of the first was the mirror's."""

    install: float
    start: float
    waited: float = 0.0

    @property
    def minutes(self) -> float:
        return (self.install + self.start - self.waited) / 60


@dataclass(slots=True, kw_only=True)
class Proxy:
    """What was fetched is in ``folder``, by its path below the ``mirror``."""

    mirror: str
    folder: Path
    port: int = 0
    waited: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fetch(self, path: str) -> Path:
        """Raises CalledProcessError for what is not there. One file after the other, so that the
        seconds add up."""
        file = self.folder / path
        with self.lock:
            if not file.is_file():
                started = time.monotonic()
                file.parent.mkdir(parents=True, exist_ok=True)
                # It knows apt's mirrors, proxies and certificates.
                words = (
                    HELPER,
                    "-o",
                    "Acquire::Retries=5",
                    "download-file",
                    f"{self.mirror}/{path}",
                    f"{file}.part",
                )
                subprocess.run(words, check=True, capture_output=True)
                Path(f"{file}.part").rename(file)
                self.waited += time.monotonic() - started
        return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("workdir", type=Path)
    parser.add_argument("--memory", type=int, default=MEMORY, help=f"MiB (default: {MEMORY})")
    arguments = parser.parse_args()
    work = arguments.workdir.absolute()
    work.mkdir(parents=True, exist_ok=True)
    with serving_mirror(find_mirror(), work / "mirror") as proxy:
        debian = install_debian(work, proxy, arguments.memory)
        names = read_packages(work / "debian.img")
        stick = make_stick(work, names)
    atoll = install_atoll(work, stick, arguments.memory)
    show("Debian's installer", debian)
    show("Atoll's live stick", atoll)
    ratio = atoll.minutes / debian.minutes
    print(f"{ratio:.2f} of Debian's time; at most {TARGET} is wanted; {len(names)} packages")
    sys.exit(0 if ratio <= TARGET else 1)


def show(name: str, times: Times) -> None:
    print(
        f"{name:<20}{times.minutes:7.1f} min: installation {times.install / 60:.1f}, first start"
        f" {times.start / 60:.1f}, not counted {times.waited / 60:.1f}",
        flush=True,
    )


# ---------------------------------------------------------------- Debian's installer


def install_debian(work: Path, proxy: Proxy, memory: int) -> Times:
    kernel, archive = fetch_installer(work, proxy)
    preseed = PRESEED.format(
        host=f"{HOST}:{proxy.port}", suite=SUITE, hashed=HASHED, packages=INCLUDED
    )
    initrd = work / "initrd"
    # The kernel unpacks an archive of one more file, and then the others.
    initrd.write_bytes(format_cpio({"preseed.cfg": preseed.encode()}) + archive.read_bytes())
    disk = Disk(image=empty_disk(work / "debian.img"), writes=Writes.DIRECT)
    words = ("-kernel", str(kernel), "-initrd", str(initrd), "-append", KERNEL)
    network = UserNetwork()
    spec = MachineSpec(disks=(disk,), memory=memory, network=network, extra=words)
    proxy.waited = 0.0
    folder = fresh(work / "debian")
    started = time.monotonic()
    with Machine(spec, folder, name="debian-installer") as machine:
        machine.start()
        wait_for_power_off(machine)
    install, waited = time.monotonic() - started, proxy.waited
    spec = MachineSpec(disks=(disk,), memory=memory, network=network)
    return Times(install=install, start=time_start(spec, folder, "debian"), waited=waited)


def wait_for_power_off(machine: Machine) -> None:
    """It was told all that it asks: a question means that something has failed."""
    try:
        machine.wait_for_console_text(re.escape(QUESTION), timeout=LONGEST)
    except MachineError:
        machine.wait_for_end(Ending.SHUTDOWN, timeout=0)
        return
    raise SystemExit(f"Debian's installer asks:\n{machine.console.tail()}")


def fetch_installer(work: Path, proxy: Proxy) -> tuple[Path, Path]:
    """Its kernel and initrd, out of their package."""
    index = proxy.fetch(f"dists/{SUITE}/main/binary-amd64/Packages.xz")
    with lzma.open(index, "rt") as text:
        paragraphs = text.read().split("\n\n")
    about = next(each for each in paragraphs if each.startswith(f"Package: {NETBOOT}\n"))
    package = proxy.fetch(re.findall(r"^Filename: (\S+)$", about, re.MULTILINE)[0])
    place = fresh(work / "netboot")
    run("dpkg-deb", "--extract", str(package), str(place))
    (initrd,) = place.glob("**/text/debian-installer/amd64/initrd.gz")
    kernel = initrd.with_name("linux")
    check_modules(kernel, proxy)
    return kernel, initrd


def check_modules(kernel: Path, proxy: Proxy) -> None:
    """The installer fetches most of its kernel's modules, of exactly its version."""
    head = kernel.read_bytes()[:SETUP]
    at = int.from_bytes(head[0x20E:0x210], "little") + 0x200
    version = head[at:].partition(b" ")[0].decode()
    index = proxy.fetch(f"dists/{SUITE}/main/debian-installer/binary-amd64/Packages.xz")
    with lzma.open(index, "rt") as text:
        if f"\nKernel-Version: {version}\n" not in text.read():
            raise SystemExit(f"the mirror has no modules for the installer's kernel {version}")


def read_packages(disk: Path) -> list[str]:
    """The packages of the Debian on ``disk``, read without mounting it."""
    table = json.loads(run("sfdisk", "--json", str(disk)))["partitiontable"]
    linux = next(each for each in table["partitions"] if each["type"].startswith("0FC63DAF"))
    place = f"{disk}?offset={linux['start'] * table['sectorsize']}"
    status = run("debugfs", "-R", "cat /var/lib/dpkg/status", place)
    found = []
    for paragraph in status.split("\n\n"):
        lines = paragraph.splitlines()
        if "Status: install ok installed" in lines:
            found += [line.removeprefix("Package: ") for line in lines if line.startswith("Pack")]
    return sorted(found)


# ---------------------------------------------------------------- Atoll


def make_stick(work: Path, names: list[str]) -> Path:
    """A live stick with an image of these packages."""
    wanted = {name for name in names if not name.startswith(LEFT_OUT)} - LEFT_OUT_WHOLE
    recipe, store, stick = work / "recipe", work / "store", work / "stick.img"
    recipe.mkdir(exist_ok=True)
    text = RECIPE.format(suite=SUITE, packages=json.dumps(sorted(wanted | set(OWN)), indent=4))
    (recipe / "atoll.toml").write_text(text)
    (recipe / "atoll.lock").unlink(missing_ok=True)
    tree = json.loads(atoll("build", str(recipe), "--store", str(store), "--json"))["tree"]
    atoll("disk", "--live", tree, str(stick), "--store", str(store), "--overwrite")
    return stick


def install_atoll(work: Path, stick: Path, memory: int) -> Times:
    disk = Disk(image=empty_disk(work / "atoll.img"), writes=Writes.DIRECT)
    folder = fresh(work / "atoll")
    spec = MachineSpec(disks=(Disk(image=stick, interface=Interface.USB), disk), memory=memory)
    started = time.monotonic()
    with Machine(spec, folder / "stick", name="live-stick") as machine:
        machine.start()
        machine.succeed(f"cat > /run/answers.toml <<'END'\n{ANSWERS.format(hashed=HASHED)}END")
        machine.succeed("atoll install booted --answers /run/answers.toml", timeout=LONGEST)
        machine.shutdown()
    install = time.monotonic() - started
    spec = MachineSpec(disks=(disk,), memory=memory)
    return Times(install=install, start=time_start(spec, folder / "disk", "installed"))


def atoll(*words: str) -> str:
    print(f"$ atoll {' '.join(words)}", flush=True)
    return run(sys.executable, "-m", "atoll", *words)


# ---------------------------------------------------------------- both


def time_start(spec: MachineSpec, folder: Path, name: str) -> float:
    started = time.monotonic()
    with Machine(spec, folder, name=name) as machine:
        machine.start()
        machine.wait_for_login_prompt(timeout=LONGEST)
        return time.monotonic() - started


def empty_disk(path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(DISK_SIZE)
    return path


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def run(*words: str) -> str:
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def find_mirror() -> str:
    """Where apt on this computer gets Debian from."""
    words = ("apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)")
    rows = [line.split() for line in run(*words).splitlines()]
    found = [row[1].rstrip("/") for row in rows if len(row) == 2 and row[0] == "Debian"]
    if not found:
        raise SystemExit("apt knows no mirror of Debian: apt update")
    return found[0]


@contextmanager
def serving_mirror(mirror: str, folder: Path) -> Iterator[Proxy]:
    proxy = Proxy(mirror=mirror, folder=folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.removeprefix("/debian/")
            try:
                file = None if ".." in path else proxy.fetch(path)
            except subprocess.CalledProcessError:
                file = None
            if file is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(file.stat().st_size))
            self.end_headers()
            with file.open("rb") as source:
                shutil.copyfileobj(source, self.wfile)

        def log_message(self, *_: object) -> None:  # type: ignore[explicit-override]
            """The requests are of no interest."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        server.shutdown()


if __name__ == "__main__":
    main()
