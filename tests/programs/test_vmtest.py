"""vmtest drives a true Debian in QEMU: every verb, through both ways to boot."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.cache import CACHE
from vmtest import (
    DirectKernel,
    Disk,
    Display,
    MachineError,
    MachineSpec,
    RequestFailed,
    Uefi,
    UserNetwork,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from vmtest import Machine
    from vmtest.plugin import MachineFactory

    Subtest = Callable[[str], AbstractContextManager[None]]

pytest_plugins = ["vmtest.plugin"]
pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.vm]


PACKAGES = (
    "dracut",
    "kmod",
    "linux-image-cloud-amd64",
    "login",
    "passwd",
    "procps",
    "systemd-boot-efi",
    "systemd-sysv",
    "udev",
    "zstd",
)
PROGRAMS = ("mmdebstrap", "mke2fs", "mkfs.vfat", "mmd", "mcopy", "qemu-system-x86_64", "qemu-img")
ARGUMENTS = "rw console=tty0 console=ttyS0 quiet panic=5"
ENTRY = f"title guest\nlinux /vmlinuz\ninitrd /initrd\noptions root=/dev/vdb {ARGUMENTS}\n"
SETUP = (
    ': >"$1/etc/fstab"',
    'echo guest >"$1/etc/hostname"',
    'sed -i "s/^root:[^:]*:/root::/" "$1/etc/shadow"',
)
VARIABLE = "/sys/firmware/efi/efivars/VmTest-12345678-1234-1234-1234-123456789abc"


def run(*argv: str | Path) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode == 0, f"{argv}\n{done.stderr.decode(errors='replace')[-3000:]}"


@pytest.fixture(scope="session")
def guest() -> Path:
    """A directory with vmlinuz, initrd, root.img and esp.img; made once and kept."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"programs are missing: {' '.join(missing)}")
    recipe = repr((PACKAGES, SETUP, ENTRY)).encode()
    place = CACHE / f"vmtest-guest-{hashlib.sha256(recipe).hexdigest()[:16]}"
    if not place.is_dir():
        part = place.with_name(f"{place.name}.part{os.getpid()}")
        part.mkdir(parents=True)
        try:
            make_guest(part)
            part.rename(place)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return place


def make_guest(place: Path) -> None:
    root = place / "root"
    run(
        "mmdebstrap",
        "--variant=apt",
        f"--include={','.join(PACKAGES)}",
        '--aptopt=APT::Install-Recommends "false"',
        *(f"--customize-hook={command}" for command in SETUP),
        "trixie",
        root,
        *filter(None, [os.environ.get("ATOLL_TEST_MIRROR")]),
    )
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    (initrd,) = (root / "boot").glob("initrd.img-*")
    shutil.copyfile(kernel, place / "vmlinuz")
    shutil.copyfile(initrd, place / "initrd")
    run("mke2fs", "-q", "-t", "ext4", "-d", root, place / "root.img", "1200M")
    make_esp(place, root / "usr/lib/systemd/boot/efi/systemd-bootx64.efi")
    shutil.rmtree(root)


def make_esp(place: Path, loader: Path) -> None:
    esp = place / "esp.img"
    entry, settings = place / "guest.conf", place / "loader.conf"
    entry.write_text(ENTRY)
    settings.write_text("timeout 0\n")
    with esp.open("wb") as file:
        file.truncate(100 << 20)
    run("mkfs.vfat", "-F", "32", esp)
    run("mmd", "-i", esp, "::/EFI", "::/EFI/BOOT", "::/loader", "::/loader/entries")
    for source, name in (
        (loader, "EFI/BOOT/BOOTX64.EFI"),
        (settings, "loader/loader.conf"),
        (entry, "loader/entries/guest.conf"),
        (place / "vmlinuz", "vmlinuz"),
        (place / "initrd", "initrd"),
    ):
        run("mcopy", "-i", esp, source, f"::/{name}")


@pytest.fixture
def direct(machine_factory: MachineFactory, guest: Path) -> Machine:
    boot = DirectKernel(
        kernel=guest / "vmlinuz", initrd=guest / "initrd", arguments=f"root=/dev/vda {ARGUMENTS}"
    )
    disks = (Disk(image=guest / "root.img"),)
    return machine_factory(MachineSpec(boot=boot, disks=disks, display=Display.STD))


@pytest.mark.long
def test_a_day_in_the_life_of_a_machine(
    direct: Machine, subtest: Subtest, guest: Path, tmp_path: Path
) -> None:
    image = guest / "root.img"
    untouched = image.stat().st_mtime_ns
    direct.start()

    with subtest("it boots, and commands answer"):
        direct.wait_for_system()
        direct.wait_for_unit("multi-user.target")
        assert direct.succeed("cat /etc/hostname") == "guest\n"
        assert direct.execute("exit 4") == (4, "")
        assert "No such file" in direct.fail("cat /nowhere")
        with pytest.raises(RequestFailed, match="exit status 1 of: false"):
            direct.succeed("false")
        with pytest.raises(MachineError, match="2 s were not enough"):
            direct.succeed("sleep 1000", timeout=2)

    with subtest("bytes and files pass unchanged"):
        data = os.urandom(4_000_000)
        assert direct.run("cat", stdin=data).output == data
        direct.copy_to(guest / "initrd", "/var/tmp/initrd")
        direct.copy_from("/var/tmp/initrd", tmp_path / "initrd")
        assert (tmp_path / "initrd").read_bytes() == (guest / "initrd").read_bytes()

    with subtest("the consoles are seen, and keys arrive"):
        direct.wait_for_login_prompt()
        direct.wait_for_screen()
        direct.send_chars("root\n")
        direct.wait_until_succeeds("pgrep -t tty1 bash")
        direct.send_chars("echo 'Typed: $1 & more!' > /root/typed\n")
        direct.wait_until_succeeds("test -s /root/typed")
        assert direct.succeed("cat /root/typed") == "Typed: $1 & more!\n"
        direct.screenshot(tmp_path / "console.png")
        assert (tmp_path / "console.png").stat().st_size > 1000

    with subtest("a reboot keeps what was written"):
        before = direct.succeed("cat /proc/sys/kernel/random/boot_id")
        direct.reboot()
        assert direct.succeed("cat /proc/sys/kernel/random/boot_id") != before
        direct.succeed("test -s /root/typed")

    with subtest("a power cut keeps what was flushed"):
        direct.succeed("echo kept > /root/flushed; sync; echo maybe > /root/unflushed")
        direct.power_cut()
        direct.start()
        assert direct.succeed("cat /root/flushed") == "kept\n"

    with subtest("a panic resets it, and it comes back"):
        direct.succeed("systemd-run --on-active=2 sh -c 'echo c > /proc/sysrq-trigger'")
        direct.wait_for_reboot()
        direct.wait_for_shell()

    with subtest("its user space starts again under the same kernel"):
        direct.wait_for_system()
        before = direct.succeed("cat /proc/sys/kernel/random/boot_id")
        direct.soft_reboot()
        assert direct.succeed("cat /proc/sys/kernel/random/boot_id") == before

    with subtest("it shuts down, and the image is as it was"):
        direct.wait_for_system()
        direct.shutdown()
        assert not direct.is_running()
        assert image.stat().st_mtime_ns == untouched


def test_firmware_boots_the_first_disk_and_machines_begin_at_its_state(
    machine_factory: MachineFactory, subtest: Subtest, guest: Path, tmp_path: Path
) -> None:
    disks = (Disk(image=guest / "esp.img"), Disk(image=guest / "root.img", serial="root"))
    spec = MachineSpec(
        boot=Uefi(), disks=disks, memory=512, display=Display.STD, network=UserNetwork()
    )
    machine = machine_factory(spec)
    state = tmp_path / "state"

    with subtest("firmware boots the first disk"):
        machine.start()
        machine.wait_for_console_text("guest login: ")
        assert machine.boot_entry() == "guest.conf"
        assert machine.succeed("realpath /dev/disk/by-id/virtio-root") == "/dev/vdb\n"
        machine.run(f"cat > {VARIABLE}", stdin=b"\x07\0\0\0kept")

    with subtest("it is saved"):
        machine.wait_for_system()
        machine.succeed("echo before > /root/before", "date --set=2020-01-01")
        boot = machine.succeed("cat /proc/sys/kernel/random/boot_id")
        machine.save(state)
        assert not machine.is_running()

    with subtest("two machines begin there, each with its own disks"):
        first, second = (machine_factory(spec, name=name) for name in ("first", "second"))
        for each in (first, second):
            each.restore(state)
            assert each.succeed("cat /root/before") == "before\n"
            assert each.succeed("cat /proc/sys/kernel/random/boot_id") == boot
            assert each.wait_for_system() == "running"
            each.wait_for_login_prompt()
            each.succeed(f"echo {each.name} > /root/mine; sync")
        first.send_key("ctrl-alt-f2")
        for each in (first, second):
            assert each.succeed("cat /root/mine") == f"{each.name}\n"
            assert int(each.succeed("date +%Y")) >= 2025

    with subtest("after a power cut one boots from its own disks and variables"):
        first.power_cut()
        first.start()
        assert first.succeed("cat /root/before /root/mine") == "before\nfirst\n"
        assert first.run(f"cat {VARIABLE}").output[4:] == b"kept"
        assert first.succeed("cat /proc/sys/kernel/random/boot_id") != boot


def test_a_damaged_kernel_is_an_error_with_the_console(
    machine_factory: MachineFactory, guest: Path
) -> None:
    boot = DirectKernel(
        kernel=guest / "vmlinuz", arguments="console=ttyS0 panic=1 root=/dev/nowhere"
    )
    machine = machine_factory(MachineSpec(boot=boot))
    machine.start()
    with pytest.raises(MachineError) as caught:
        machine.wait_for_shell()
    assert "Kernel panic" in str(caught.value)
