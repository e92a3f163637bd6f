"""QEMU's command line, and what a host must have."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vmtest import (
    DirectKernel,
    Disk,
    Display,
    Interface,
    MachineError,
    MachineSpec,
    Uefi,
    UserNetwork,
    Writes,
)
from vmtest.guest import PORT, SERVE
from vmtest.qemu import Wiring, ensure_files, ensure_possible, plan_command

if TYPE_CHECKING:
    from collections.abc import Callable

    PutProgram = Callable[[str, str], Path]

GOLDEN = Path(__file__).parents[2] / "golden" / "vmtest"
WIRING = Wiring(directory=Path("/w"), monitor=7, channel=9, kvm=False)
FULL = MachineSpec(
    boot=Uefi(code=Path("/f/code.fd"), variables=Path("/f/vars.fd"), secure_boot=True),
    disks=(
        Disk(image=Path("/i/system,1.img"), serial="system"),
        Disk(image=Path("/i/data.qcow2"), format="qcow2", writes=Writes.DIRECT, cache="unsafe"),
        Disk(image=Path("/i/log.img"), writes=Writes.DIRECT, write_log=Path("/w/writes.log")),
    ),
    memory=2048,
    cpus=4,
    display=Display.VIRTIO,
    network=UserNetwork(ssh_port=2222, restricted=True),
    credentials=(("passwd.plaintext-password.root", b"x"),),
    extra=("-device", "i6300esb"),
)
DIRECT = MachineSpec(
    boot=DirectKernel(kernel=Path("/k"), initrd=Path("/r"), arguments="a b"),
    disks=(Disk(image=Path("/i/root.img")),),
    network=UserNetwork(),
)


def shown(argv: list[str]) -> str:
    """One option a line; vmtest's own credentials by name only."""
    lines = re.sub(r"\n(?!-)", " ", "\n".join(["qemu", *argv[1:]])) + "\n"
    own = r"(credential\.binary:(?:vmtest|systemd)[^=]*=)\S+"
    return re.sub(own, r"\1…", lines)


@pytest.mark.parametrize(("name", "spec", "kvm"), [("full", FULL, True), ("direct", DIRECT, False)])
def test_command_lines_are_golden(
    name: str, spec: MachineSpec, kvm: bool, programs: Path, tmp_path: Path
) -> None:
    code, variables = tmp_path / "code.fd", tmp_path / "vars.fd"
    code.touch()
    variables.touch()
    if isinstance(spec.boot, Uefi):
        spec = replace(spec, boot=replace(spec.boot, code=code, variables=variables))
    assert programs.is_dir()
    wiring = Wiring(directory=Path("/w"), monitor=7, channel=9, kvm=kvm)
    text = shown(plan_command(spec, wiring)).replace(str(tmp_path), "/f")
    assert text == (GOLDEN / f"{name}.argv").read_text()


def test_the_shell_travels_as_a_credential(programs: Path) -> None:
    assert programs.is_dir()
    words = plan_command(DIRECT, WIRING)
    (shell,) = [word for word in words if "binary:vmtest.shell=" in word]
    script = base64.b64decode(shell.partition("vmtest.shell=")[2]).decode()
    assert script.startswith(SERVE)
    assert script.endswith("serve\n")
    assert f"name={PORT}" in " ".join(words)


@pytest.mark.usefixtures("programs")
def test_a_slow_disk_is_throttled_before_the_machine_sees_it() -> None:
    disk = Disk(image=Path("/i/root.img"), bytes_per_second=2_000_000)
    argv = plan_command(replace(DIRECT, disks=(disk,)), WIRING)
    assert "throttle-group,id=limit0,x-bps-read=2000000,x-bps-write=2000000" in argv
    assert "driver=throttle,node-name=disk0,throttle-group=limit0,file=fast0" in argv
    assert any(word.startswith("driver=qcow2,node-name=fast0,") for word in argv)


@pytest.mark.parametrize(
    ("disk", "words"),
    [
        (
            Disk(image=Path("/i"), interface=Interface.USB, serial="S"),
            "-device qemu-xhci,id=usb0"
            " -device usb-storage,bus=usb0.0,removable=on,drive=disk0,bootindex=1,serial=S",
        ),
        (
            Disk(image=Path("/i"), interface=Interface.NVME, sector=4096),
            "-device nvme,drive=disk0,bootindex=1,"
            "logical_block_size=4096,physical_block_size=4096,serial=disk0",
        ),
        (
            Disk(image=Path("/i"), interface=Interface.SATA),
            "-device ide-hd,bus=ide.0,drive=disk0,bootindex=1",
        ),
    ],
)
@pytest.mark.usefixtures("programs")
def test_a_disk_is_connected_as_its_interface_says(disk: Disk, words: str) -> None:
    assert words in " ".join(plan_command(replace(DIRECT, disks=(disk,)), WIRING))


@pytest.mark.usefixtures("programs")
def test_a_sata_disk_has_sectors_of_512_bytes() -> None:
    disk = Disk(image=Path("/i"), interface=Interface.SATA, sector=4096)
    with pytest.raises(MachineError, match="no SATA disks"):
        plan_command(replace(DIRECT, disks=(disk,)), WIRING)


def test_a_write_log_needs_a_raw_disk_of_its_own(programs: Path) -> None:
    assert programs.is_dir()
    disk = Disk(image=Path("/i"), write_log=Path("/l"))
    with pytest.raises(MachineError, match="a write log needs a raw disk"):
        plan_command(MachineSpec(boot=DIRECT.boot, disks=(disk,)), WIRING)


@pytest.mark.usefixtures("programs")
def test_bad_sectors_fail_below_the_disk(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.touch()
    spec = replace(DIRECT, disks=(Disk(image=image, writes=Writes.DIRECT, bad=(8, 4096)),))
    wiring = replace(WIRING, directory=tmp_path)
    ensure_files(spec, wiring)
    rules = (tmp_path / "disk0.blkdebug").read_text().split("[inject-error]\n")[1:]
    assert [rule.split()[-1] for rule in rules] == ['"8"', '"4096"']
    words = " ".join(plan_command(spec, wiring))
    assert "driver=raw,node-name=disk0," in words
    assert f"file.driver=blkdebug,file.config={tmp_path}/disk0.blkdebug" in words
    assert f"file.image.driver=file,file.image.filename={image}" in words
    with pytest.raises(MachineError, match="bad sectors need a raw disk"):
        plan_command(replace(spec, disks=(Disk(image=image, bad=(8,)),)), wiring)


@pytest.mark.parametrize(
    ("program", "package"), [("qemu-system-x86_64", "qemu-system-x86"), ("qemu-img", "qemu-utils")]
)
def test_a_missing_program_names_its_package(
    programs: Path, program: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(programs))
    ensure_possible(DIRECT)
    (programs / program).unlink()
    with pytest.raises(MachineError, match=f"{program} is not here: apt install {package}"):
        ensure_possible(DIRECT)


def test_a_missing_firmware_file_is_named(programs: Path) -> None:
    assert programs.is_dir()
    with pytest.raises(MachineError, match="firmware file /nowhere does not exist"):
        ensure_possible(MachineSpec(boot=Uefi(code=Path("/nowhere"), variables=Path("/nowhere"))))


def test_missing_ovmf_names_its_package(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert programs.is_dir()
    monkeypatch.setattr("atoll.vm.qemu.FIRMWARE", ())
    with pytest.raises(MachineError, match="no UEFI firmware for virtual machines: apt install"):
        ensure_possible(MachineSpec())


def test_a_missing_image_is_named(programs: Path, tmp_path: Path) -> None:
    assert programs.is_dir()
    spec = MachineSpec(boot=DIRECT.boot, disks=(Disk(image=tmp_path / "no.img"),))
    with pytest.raises(MachineError, match=r"disk image .*no\.img is not here"):
        ensure_files(spec, Wiring(directory=tmp_path, monitor=3, channel=4, kvm=False))


def test_variables_are_copied_once(programs: Path, tmp_path: Path) -> None:
    assert programs.is_dir()
    first = tmp_path / "first.fd"
    first.write_bytes(b"empty")
    spec = MachineSpec(boot=Uefi(code=first, variables=first))
    wiring = Wiring(directory=tmp_path, monitor=3, channel=4, kvm=False)
    ensure_files(spec, wiring)
    wiring.variables.write_bytes(b"the machine's")
    ensure_files(spec, wiring)
    assert wiring.variables.read_bytes() == b"the machine's"
    assert first.read_bytes() == b"empty"
