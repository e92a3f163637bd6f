"""The boot loader on the ESP: systemd-boot alone or behind shim, beside others, and its updates."""

from __future__ import annotations

import lzma
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Refused
from atoll.image import signatures
from atoll.image.bootable import BootLoader, read_bootable
from atoll.image.signatures import find_unsigned_modules, is_kernel_signed, is_module_signed
from atoll.machine.boot.loader_files import fallback_files, firmware_path, own_files
from atoll.machine.boot.secure_boot import SecureBoot, Signatures, read_signatures
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.loader_operations import (
    NEW,
    InstallLoader,
    RemoveOldLoader,
    UpdateLoader,
    plan_loader_update,
)
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.install import needed_space
from atoll.machine.secure_boot_check import check_kernel_signed, find_secure_boot_notes
from tests.unit.machine.small_image import FACTS, KERNEL, files_of, make_store
from tests.unit.machine.test_protection import program

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.image.bootable import BootableImage

BOOT = "usr/lib/systemd/boot/efi/systemd-bootx64.efi"
MODULES = f"usr/lib/modules/{KERNEL}/updates/dkms"
MARK = b"~Module signature appended~\n"
GRUB = b"MZ the boot loader of another system"


def systemd_boot(version: str, *, signed: bool = True) -> bytes:
    return program(9 * signed) + f"#### LoaderInfo: systemd-boot {version} ####".encode()


def shim(version: str) -> bytes:
    return program(9) + f"\nshim.debian,1,Debian,shim,{version},https://x\n".encode()


def loader(version: str = "257.1", shim_version: str = "16.1") -> BootLoader:
    return BootLoader(
        efi_name="x64",
        program=systemd_boot(version),
        shim=shim(shim_version),
        mok_manager=b"MokManager " + shim_version.encode(),
    )


PLAIN = BootLoader(efi_name="x64", program=systemd_boot("257.1", signed=False))


def make_image(root: Path, **changes: bytes) -> BootableImage:
    files = files_of(FACTS) | {
        f"{BOOT}.signed": systemd_boot("257.1"),
        "usr/lib/shim/shimx64.efi.signed": shim("16.1"),
        "usr/lib/shim/mmx64.efi.signed": b"MokManager 16.1",
        f"usr/lib/modules/{KERNEL}/vmlinuz": program(9) + b"kernel" * 999,
    }
    changed = files | {path.replace("__", "/"): data for path, data in changes.items()}
    return read_bootable(*make_store(root, {path: data for path, data in changed.items() if data}))


def without(root: Path, *paths: str) -> BootableImage:
    return make_image(root, **dict.fromkeys(paths, b""))


def files_below(esp: Path) -> dict[str, bytes]:
    found = (path for path in esp.rglob("*") if path.is_file())
    return {str(path.relative_to(esp)): path.read_bytes() for path in found}


def installed(esp: Path, boot_loader: BootLoader) -> dict[str, bytes]:
    InstallLoader(esp=esp, loader=boot_loader).execute()
    return {name: data for name, data in files_below(esp).items() if name.startswith("EFI/")}


def update(esp: Path, boot_loader: BootLoader) -> dict[str, bytes]:
    apply_operations(plan_loader_update(Sysroot(root=esp / "none", esp=esp), boot_loader))
    return {name: data for name, data in files_below(esp).items() if name.startswith("EFI/")}


def put(esp: Path, name: str, content: bytes) -> None:
    (esp / name).parent.mkdir(parents=True, exist_ok=True)
    (esp / name).write_bytes(content)


def test_firmware_starts_shim_and_shim_starts_systemd_boot(tmp_path: Path) -> None:
    image = make_image(tmp_path / "store")
    assert image.loader == loader()
    assert installed(tmp_path / "esp", image.loader) == {
        "EFI/systemd/systemd-bootx64.efi": systemd_boot("257.1"),
        "EFI/systemd/grubx64.efi": systemd_boot("257.1"),
        "EFI/systemd/mmx64.efi": b"MokManager 16.1",
        "EFI/systemd/shimx64.efi": shim("16.1"),
        "EFI/BOOT/grubx64.efi": systemd_boot("257.1"),
        "EFI/BOOT/mmx64.efi": b"MokManager 16.1",
        "EFI/BOOT/BOOTX64.EFI": shim("16.1"),
    }
    assert firmware_path(image.loader) == r"\EFI\systemd\shimx64.efi"
    assert needed_space(image, ()).esp > 2 * sum(len(each.content) for each in own_files(loader()))


def test_shim_is_of_no_use_without_a_signed_systemd_boot(tmp_path: Path) -> None:
    image = without(tmp_path / "store", f"{BOOT}.signed")
    assert image.loader == BootLoader(efi_name="x64", program=b"loader " * 100)
    assert set(installed(tmp_path / "esp", image.loader)) == {
        "EFI/systemd/systemd-bootx64.efi",
        "EFI/BOOT/BOOTX64.EFI",
    }
    assert firmware_path(image.loader) == r"\EFI\systemd\systemd-bootx64.efi"
    # MokManager is for keys of one's own: nothing fails without it.
    image = without(tmp_path / "other", "usr/lib/shim/mmx64.efi.signed")
    assert [each.path for each in fallback_files(image.loader)] == [
        "EFI/BOOT/grubx64.efi",
        "EFI/BOOT/BOOTX64.EFI",
    ]


def test_a_file_comes_after_those_that_it_starts() -> None:
    for files in (own_files(loader()), fallback_files(loader())):
        assert files[-1].content == loader().shim


@pytest.mark.parametrize(
    "there",
    [
        {"EFI/BOOT/BOOTX64.EFI": GRUB},
        {"EFI/BOOT/BOOTX64.EFI": shim("15.8")},
        {"EFI/BOOT/BOOTX64.EFI": shim("16.1"), "EFI/BOOT/grubx64.efi": GRUB},
        {"EFI/BOOT/grubx64.efi": GRUB},
    ],
)
def test_the_removable_media_path_of_another_system_stays(
    tmp_path: Path, there: dict[str, bytes]
) -> None:
    for name, content in there.items():
        put(tmp_path, name, content)
    for boot_loader in (loader(), PLAIN, loader("258")):
        found = installed(tmp_path, boot_loader)
        assert {name: data for name, data in found.items() if "BOOT/" in name} == there
    assert update(tmp_path, loader("259"))["EFI/systemd/grubx64.efi"] == systemd_boot("259")
    assert {name: data for name, data in files_below(tmp_path).items() if "BOOT/" in name} == there


def test_an_installation_that_was_cut_is_repeated(tmp_path: Path) -> None:
    whole = installed(tmp_path / "whole", loader())
    files = own_files(loader()) + fallback_files(loader())
    for count, file in enumerate(files):
        esp = tmp_path / str(count)
        for each in files[:count]:
            put(esp, each.path, each.content)
        put(esp, file.path, file.content[: len(file.content) // 2] + bytes(99))
        assert installed(esp, loader()) == whole


def test_an_upgrade_brings_a_newer_boot_loader(tmp_path: Path) -> None:
    installed(tmp_path, loader())
    assert plan_loader_update(Sysroot(root=tmp_path, esp=tmp_path), loader()) == ()
    newer = loader("257.2", "16.2")
    found = update(tmp_path, newer)
    assert found == installed(tmp_path / "new", newer)
    # Neither goes back: what is older may be revoked. Each has a version of its own.
    assert update(tmp_path, loader()) == found
    mixed = update(tmp_path, loader("257.3", "16.1"))
    assert mixed["EFI/BOOT/grubx64.efi"] == systemd_boot("257.3")
    assert mixed["EFI/BOOT/BOOTX64.EFI"] == shim("16.2")
    assert mixed["EFI/BOOT/mmx64.efi"] == b"MokManager 16.2"


def test_what_is_signed_is_not_replaced_by_what_is_not(tmp_path: Path) -> None:
    found = installed(tmp_path, loader())
    for other in (
        BootLoader(efi_name="x64", program=systemd_boot("999", signed=False)),
        BootLoader(efi_name="x64", program=systemd_boot("999")),
        BootLoader(efi_name="x64", program=b""),
    ):
        assert update(tmp_path, other) == found


def test_an_upgrade_makes_a_machine_ready_for_secure_boot(tmp_path: Path) -> None:
    installed(tmp_path, PLAIN)
    assert update(tmp_path, loader()) == installed(tmp_path / "new", loader())


def test_a_partition_with_kernels_only_gets_no_boot_loader(tmp_path: Path) -> None:
    put(tmp_path, "loader/entries/atoll-1.conf", b"")
    assert update(tmp_path, loader()) == {}


@pytest.mark.parametrize("left", [b"", systemd_boot("257.2")[:40], systemd_boot("257.1")])
def test_what_a_cut_left_of_an_update_is_removed(tmp_path: Path, left: bytes) -> None:
    installed(tmp_path, loader())
    put(tmp_path, f"EFI/BOOT/{NEW}", left)
    sysroot = Sysroot(root=tmp_path, esp=tmp_path)
    assert plan_loader_update(sysroot, loader()) == (RemoveOldLoader(esp=tmp_path),)
    remove, replace_files = plan_loader_update(sysroot, loader("257.2"))
    assert isinstance(replace_files, UpdateLoader)
    apply_operations((replace_files, remove))
    assert files_below(tmp_path) == files_below(tmp_path) | installed(
        tmp_path / "new", loader("257.2", "16.1")
    )
    assert not list(tmp_path.rglob(NEW))


def test_the_loader_of_a_machine_with_a_boot_partition_is_updated_on_its_esp(
    tmp_path: Path,
) -> None:
    esp, kernels = tmp_path / "esp", tmp_path / "kernels"
    installed(esp, loader())
    installed(kernels, loader())
    sysroot = Sysroot(root=tmp_path, esp=kernels, loader=esp)
    (update,) = plan_loader_update(sysroot, loader("257.2"))
    assert isinstance(update, UpdateLoader)
    assert update.esp == esp
    unmounted = replace(sysroot, loader=tmp_path / "empty")
    assert plan_loader_update(unmounted, loader("257.2")) == ()


def test_status_says_which_programs_are_signed(tmp_path: Path) -> None:
    put(tmp_path, "atoll/abc/linux", program(9))
    installed(tmp_path, loader())
    found = read_signatures(tmp_path, tmp_path / "atoll/abc/linux")
    assert found == Signatures(signed=("shim", "boot loader", "kernel"))
    assert found.are_enough
    (tmp_path / "EFI/systemd/shimx64.efi").unlink()
    assert not read_signatures(tmp_path, tmp_path / "atoll/abc/linux").are_enough


def test_modules_that_nobody_signed_are_named(tmp_path: Path) -> None:
    image = make_image(
        tmp_path,
        **{
            f"{MODULES}/nvidia.ko.xz": lzma.compress(b"module"),
            f"{MODULES}/signed.ko.xz": lzma.compress(b"module" + MARK),
            f"{MODULES}/v4l2loopback.ko": b"module",
            f"{MODULES}/own.ko": b"module" + MARK,
            f"{MODULES}/damaged.ko.xz": b"no archive",
            f"{MODULES}/cut.ko.xz": lzma.compress(b"module" + MARK)[:-20],
            f"{MODULES}/README": b"text",
        },
    )
    assert find_unsigned_modules(image) == ("cut", "damaged", "nvidia", "v4l2loopback")
    said = " ".join(find_secure_boot_notes(image, SecureBoot.ON))
    assert "the kernel refuses" in said and "cut, damaged, nvidia, v4l2loopback" in said
    (note,) = find_secure_boot_notes(image, SecureBoot.OFF)
    assert "must stay off for these modules" in note


def test_a_module_that_would_fill_the_memory_is_not_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed = lzma.compress(bytes(8 << 20) + MARK)
    assert is_module_signed("large.ko.xz", packed)
    monkeypatch.setattr(signatures, "_LARGEST_MODULE", 4 << 20)
    assert not is_module_signed("large.ko.xz", packed)


def test_the_installer_says_what_secure_boot_does_with_an_image(tmp_path: Path) -> None:
    signed = make_image(tmp_path / "signed")
    assert list(find_secure_boot_notes(signed, SecureBoot.OFF)) == []
    (note,) = find_secure_boot_notes(signed, SecureBoot.ON)
    assert "not initrd and boot entry" in note
    for image, why in (
        (without(tmp_path / "shim", "usr/lib/shim/shimx64.efi.signed"), "no shim"),
        (without(tmp_path / "loader", f"{BOOT}.signed"), "no shim"),
        (
            make_image(tmp_path / "kernel", **{f"usr/lib/modules/{KERNEL}/vmlinuz": b"x" * 99}),
            "kernel",
        ),
    ):
        (off,) = find_secure_boot_notes(image, SecureBoot.OFF)
        assert "must stay off" in off and why in off
        (on,) = find_secure_boot_notes(image, SecureBoot.ON)
        assert "refuses this image" in on and "shim-signed" in on


def test_a_kernel_that_the_machine_refuses_is_not_upgraded_to(tmp_path: Path) -> None:
    signed = make_image(tmp_path / "signed")
    unsigned = make_image(tmp_path / "own", **{f"usr/lib/modules/{KERNEL}/vmlinuz": b"x" * 99})
    assert is_kernel_signed(signed) and not is_kernel_signed(unsigned)
    check_kernel_signed(signed, SecureBoot.ON)
    check_kernel_signed(replace(signed, loader=PLAIN), SecureBoot.ON)
    check_kernel_signed(unsigned, SecureBoot.OFF)
    with pytest.raises(Refused, match="its kernel is not signed"):
        check_kernel_signed(unsigned, SecureBoot.ON)
