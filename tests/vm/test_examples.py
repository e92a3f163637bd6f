"""The examples boot, come up whole, and the running machine is what their recipes say."""

from __future__ import annotations

import subprocess
import tomllib
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest

from atoll.base.ids import TreeId
from atoll.image.read_file import read_file
from atoll.store.layout import open_store
from vmtest import Disk, Display, Machine, MachineSpec

from .conftest import CHECKOUT, STORE, atoll, build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Built

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network]

HARDENED = CHECKOUT / "examples/hardened"
WRITABLE = ("/var", "/home", "/root", "/srv", "/media", "/mnt", "/dev/shm", "/tmp")
TEXT = 200
"""A screen with smooth letters on it has more colours than this, one without has fewer."""
ANOTHER_FORM = 0.005
"""The share of a screen that changes when a greeter asks for something else."""
MICROCODE = {"GenuineIntel.bin": b"\x01\0\0\0", "AuthenticAMD.bin": b"DMA\0"}
"""How the microcode of each maker begins: a version of headers, and the mark of a container."""
LAPTOPS = {
    "asus-laptop": ("lightdm-gtk-greeter", "asus_nb_wmi", "hid_asus"),
    "surface": ("gnome-shell", "surface_hid", "surface_aggregator_registry"),
}
"""The greeter, and drivers of such computers."""
GREETERS = {"gnome": "gnome-shell", "kde": "sddm-greeter"}


@contextmanager
def machine_of(
    example: str, directory: Path, *, variant: str | None = None, memory: int = 1024
) -> Iterator[Machine]:
    """The example built, on a disk, switched on; what it shows is kept beside its disk."""
    with switched_on(build(example, directory, variant=variant), directory, memory) as machine:
        yield machine


@contextmanager
def switched_on(built: Built, directory: Path, memory: int) -> Iterator[Machine]:
    spec = MachineSpec(disks=(Disk(image=built.disk),), memory=memory, display=Display.STD)
    with Machine(spec, directory / "machine", name=built.disk.stem) as machine:
        machine.start()
        yield machine


def assert_whole(machine: Machine) -> None:
    assert machine.wait_for_system(timeout=1800) == "running"
    assert machine.succeed("systemctl --failed --no-legend").strip() == ""


def read_recipe(path: Path) -> dict[str, Any]:
    """An example's folder, or a file of examples/hardware."""
    return tomllib.loads((path / "atoll.toml" if path.is_dir() else path).read_text())


@pytest.fixture(scope="class")
def hardened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine_of("hardened", tmp_path_factory.mktemp("hardened")) as machine:
        assert_whole(machine)
        yield machine


@pytest.mark.long
class TestHardened:
    """Every setting of the recipe is asked of the machine; the recipe is where the list is."""

    def test_kernel_settings(self, hardened: Machine) -> None:
        text = (HARDENED / "files/sysctl.conf").read_text()
        lines = [line.split("=") for line in text.splitlines() if line and line[0] != "#"]
        wanted = {name.strip(): value.strip() for name, value in lines}
        said = hardened.succeed(f"sysctl {' '.join(wanted)}").splitlines()
        assert dict(line.split(" = ", 1) for line in said) == wanted

    def test_kernel_arguments(self, hardened: Machine) -> None:
        given = hardened.succeed("cat /proc/cmdline").split()
        assert [word for word in read_recipe(HARDENED)["kernel"]["args"] if word not in given] == []

    def test_kernel_arguments_have_taken_effect(self, hardened: Machine) -> None:
        assert "[confidentiality]" in hardened.succeed("cat /sys/kernel/security/lockdown")
        assert hardened.succeed("cat /sys/module/module/parameters/sig_enforce").strip() == "Y"
        assert hardened.succeed("cat /proc/sys/kernel/panic_on_oops").strip() == "1"
        hardened.fail("mount -t debugfs debugfs /sys/kernel/debug")
        hardened.fail("grep vsyscall /proc/self/maps")
        hardened.fail("dd if=/dev/mem of=/dev/null count=1")
        memory = hardened.succeed("journalctl -k -b | grep 'mem auto-init'")
        assert "heap alloc:on" in memory and "heap free:on" in memory

    def test_masks(self, hardened: Machine) -> None:
        for unit in read_recipe(HARDENED)["units"]["mask"]:
            assert hardened.execute(f"systemctl is-enabled {unit}")[1].strip() == "masked", unit
            assert "masked" in hardened.fail(f"systemctl start {unit}"), unit

    def test_mount_options(self, hardened: Machine) -> None:
        for place in (*WRITABLE, "/etc"):
            options = hardened.succeed(f"findmnt -no OPTIONS --mountpoint {place}").strip()
            assert {"nosuid", "nodev"} <= set(options.split(",")), place
        for place in WRITABLE:
            hardened.succeed(f"cp /usr/bin/true {place}/mine")
            assert "Permission denied" in hardened.fail(f"{place}/mine"), place
            hardened.succeed(f"rm {place}/mine")

    def test_modules(self, hardened: Machine) -> None:
        for name in read_recipe(HARDENED)["kernel"]["blacklist"]:
            hardened.succeed(f"modinfo {name}")
            # Its status tells nothing: for a module with soft dependencies modprobe says 0.
            hardened.execute(f"modprobe {name}")
            hardened.fail(f"grep '^{name.replace('-', '_')} ' /proc/modules")
        shown = hardened.succeed("modprobe --showconfig").splitlines()
        for name in read_recipe(HARDENED)["kernel"]["blacklist"]:
            assert f"blacklist {name.replace('-', '_')}" in shown
        hardened.succeed("modprobe dummy")

    def test_firewall_ssh_and_apparmor(self, hardened: Machine) -> None:
        assert "hook input priority filter; policy drop;" in hardened.succeed("nft list ruleset")
        sshd = hardened.succeed("sshd -T").splitlines()
        for line in (HARDENED / "files/sshd.conf").read_text().lower().splitlines():
            assert line in sshd
        assert hardened.succeed("cat /sys/module/apparmor/parameters/enabled").strip() == "Y"
        hardened.succeed("aa-status --profiled")


@pytest.mark.long
def test_server(tmp_path: Path) -> None:
    with machine_of("server", tmp_path) as machine:
        assert_whole(machine)
        for unit in read_recipe(CHECKOUT / "examples/server")["health"]["units"]:
            assert machine.succeed(f"systemctl is-active {unit}").strip() == "active"
        assert "hook input priority filter; policy drop;" in machine.succeed("nft list ruleset")
        assert machine.succeed("systemctl show -P Restart ssh").strip() == "always"
        machine.succeed("chronyc tracking")
        # A key gets in, a password does not.
        machine.succeed(
            "su atoll -c 'mkdir -m 700 ~/.ssh; ssh-keygen -qN \"\" -f ~/.ssh/id_ed25519'",
            "su atoll -c 'cp ~/.ssh/id_ed25519.pub ~/.ssh/authorized_keys'",
            "su atoll -c 'ssh -o StrictHostKeyChecking=accept-new localhost id'",
        )
        refused = machine.fail("su atoll -c 'ssh -o PubkeyAuthentication=no localhost id'")
        assert "Permission denied (publickey)" in refused
        # A container for root and one for a person; ldconfig needs no libraries.
        for person in ("root", "atoll"):
            machine.succeed(
                f"su - {person} -c 'tar -C /usr/sbin -c ldconfig | podman import - tiny'",
                f"su - {person} -c 'podman run --rm --network=none tiny /ldconfig --version'",
            )


@pytest.mark.long
@pytest.mark.parametrize("variant", ["gnome", "kde"])
def test_desktop(variant: str, tmp_path: Path) -> None:
    """The greeter of each variant is there to be looked at: greeter.png in the test's folder."""
    with machine_of("desktop", tmp_path, variant=variant, memory=3072) as machine:
        assert_whole(machine)
        machine.wait_until_succeeds(f"pgrep -f {GREETERS[variant]}", timeout=900)
        machine.wait_for_screen(colours=300, timeout=900)
        machine.screenshot(tmp_path / "greeter.png")
        machine.succeed("systemctl is-active graphical.target display-manager.service")


@pytest.mark.long
def test_sway(tmp_path: Path) -> None:
    """From the greeter into the session: docs/tutorial/your-own-desktop.md."""
    with machine_of("sway", tmp_path, memory=2048) as machine:
        assert_whole(machine)
        machine.wait_until_succeeds("pgrep -u _greetd -x gtkgreet", timeout=900)
        machine.wait_for_screen(colours=TEXT, timeout=900)
        machine.screenshot(tmp_path / "greeter.png")
        asks_name = machine.picture()
        machine.send_chars("atoll\n")
        while machine.picture().difference(asks_name) < ANOTHER_FORM:
            machine.wait_for_screen(colours=TEXT, timeout=300)
        machine.send_chars("atoll\n")
        machine.wait_until_succeeds("pgrep -u atoll -x sway && pgrep -u atoll waybar", timeout=900)
        machine.wait_for_screen(colours=TEXT, timeout=900)
        machine.send_key("meta_l-ret")
        machine.wait_until_succeeds("pgrep -u atoll -x foot", timeout=300)
        machine.wait_for_screen(colours=TEXT, timeout=300)
        machine.screenshot(tmp_path / "session.png")


@pytest.mark.long
def test_gaming_nvidia(tmp_path: Path) -> None:
    """No card is needed to build the driver, nor to boot."""
    try:
        built = build("gaming-nvidia", tmp_path)
    except subprocess.CalledProcessError:
        # A mirror may be out of step with itself in its lists of updates for i386.
        foreign = 'architectures = ["i386"]'
        only_the_release = f"{foreign}\nsecurity = false\nupdates = false"
        built = build("gaming-nvidia", tmp_path, changes={foreign: only_the_release})
    with switched_on(built, tmp_path, 2048) as machine:
        assert_whole(machine)
        kernel = machine.succeed("uname -r").strip()
        for module in ("nvidia-current", "nvidia-current-drm", "nvidia-current-uvm"):
            assert machine.succeed(f"modinfo -F vermagic {module}").split()[0] == kernel
            assert f"/{kernel}/updates/dkms/" in machine.succeed(f"modinfo -n {module}")
        assert "nvidia-current" in machine.succeed("modprobe --dry-run --verbose nvidia")
        machine.fail("grep -rlE 'PRIVATE KEY' /var/lib/dkms /etc/dkms /usr/lib/modules")
        assert "blacklist nouveau" in machine.succeed("modprobe --showconfig")
        assert "i386" in machine.succeed("dpkg --print-foreign-architectures")
        machine.succeed("dpkg -s steam-installer steamcmd:i386 nvidia-driver-libs:i386")


def read_initrd(tree: str) -> tuple[str, bytes]:
    """The initrd of an image in the store, and its path."""
    lines = atoll("tree", "dump", STORE / "images" / tree).splitlines()
    (path,) = (
        line.split()[0]
        for line in lines
        if line.startswith("/usr/lib/modules/") and line.split()[0].endswith("/initrd")
    )
    content = read_file(open_store(STORE), TreeId(tree), path.removeprefix("/"))
    assert content is not None
    return path, content


def unpack(initrd: bytes, *names: str) -> bytes:
    """Files of the first archive of an initrd, by the real cpio; without names, the list."""
    words = ["--extract", "--to-stdout"] if names else ["--list"]
    argv = ["cpio", "--quiet", *words, *names]
    return subprocess.run(argv, input=initrd, check=True, capture_output=True).stdout


def check_microcode(initrd: bytes) -> None:
    """The kernel looks for it in the first archive, which is not compressed."""
    listed = unpack(initrd).decode().split()
    for name, begin in MICROCODE.items():
        path = f"kernel/x86/microcode/{name}"
        assert path in listed
        content = unpack(initrd, path)
        assert content.startswith(begin) and len(content) > 20_000, name


def read_modules(initrd: bytes) -> set[str]:
    """The names of the kernel modules in the second archive of an initrd, which is compressed."""
    _, end, rest = initrd.partition(b"TRAILER!!!")
    assert end
    argv = ["zstd", "--decompress", "--stdout", "--quiet"]
    done = subprocess.run(argv, input=rest.lstrip(b"\0"), check=True, capture_output=True)
    names = (PurePosixPath(name).name for name in unpack(done.stdout).decode().splitlines())
    return {name.partition(".ko")[0].replace("-", "_") for name in names if ".ko" in name}


@pytest.mark.long
@pytest.mark.parametrize("example", LAPTOPS)
def test_laptops(example: str, tmp_path: Path) -> None:
    """Firmware, microcode and drivers are there; only such computers can tell whether they work."""
    greeter, *drivers = LAPTOPS[example]
    built = build(example, tmp_path)
    _, initrd = read_initrd(built.tree)
    check_microcode(initrd)
    wanted = read_recipe(CHECKOUT / "examples/hardware/surface.toml")["kernel"]["initrd_modules"]
    if example == "surface":
        assert set(wanted) <= read_modules(initrd)
    with switched_on(built, tmp_path, 3072) as machine:
        assert_whole(machine)
        machine.wait_until_succeeds(f"pgrep -f {greeter}", timeout=900)
        machine.wait_for_screen(colours=TEXT, timeout=900)
        machine.screenshot(tmp_path / "greeter.png")
        for driver in drivers:
            machine.succeed(f"modinfo {driver}")
        firmware = "/usr/lib/firmware"
        machine.succeed(
            f"ls {firmware}/iwlwifi-* {firmware}/amdgpu {firmware}/i915 {firmware}/mediatek"
        )
        assert "/dev/zram0" in machine.succeed("swapon --noheadings --show=NAME")
