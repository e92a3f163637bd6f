"""Whether a machine with Secure Boot starts an image, before it is installed or upgraded to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.errors import Refused
from atoll.image.signatures import find_unsigned_modules, is_kernel_signed
from atoll.machine.boot.secure_boot import KERNEL, LOADER, SHIM, SecureBoot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.image.bootable import BootableImage

SIGNED_PACKAGES = "shim-signed, systemd-boot and systemd-boot-efi-amd64-signed"
_OFF = "switch Secure Boot off in the firmware's setup"


def check_kernel_signed(image: BootableImage, state: SecureBoot) -> None:
    """Raises Refused for a version that this machine cannot start. Its boot loader does not
    matter: a signed one on the ESP is not replaced by another."""
    if state is SecureBoot.ON and not is_kernel_signed(image):
        raise Refused(
            f"{image.name} {image.version} does not start on this machine: Secure Boot is on, and"
            " its kernel is not signed",
            hint=f"{_OFF}, or use Debian's signed kernel (linux-image-amd64)",
        )


def find_secure_boot_notes(image: BootableImage, state: SecureBoot) -> Iterator[str]:
    """What a person should know before ``image`` is installed; ``state`` is that of the computer
    that installs it. Raises Damaged."""
    missing = _find_missing(image)
    if missing and state is SecureBoot.ON:
        yield (
            f"Secure Boot is on, and the firmware refuses this image: {missing}. Before the"
            f" restart, {_OFF}; or add {SIGNED_PACKAGES} to the recipe"
        )
    elif missing:
        yield f"Secure Boot must stay off for this image: {missing}"
    elif state is SecureBoot.ON:
        yield "Secure Boot is on: it checks boot loader and kernel, not initrd and boot entry"
    modules = find_unsigned_modules(image)
    if modules:
        named = ", ".join(modules)
        when = "is on, and the kernel refuses" if state is SecureBoot.ON else "must stay off for"
        yield f"Secure Boot {when} these modules that DKMS built, which nobody signed: {named}"


def _find_missing(image: BootableImage) -> str:
    """Why firmware with Microsoft's key refuses to start it; empty when it does not."""
    if not image.loader.shim:
        return f"it has no {SHIM}, or a {LOADER} that is not signed"
    return "" if is_kernel_signed(image) else f"its {KERNEL} is not signed"
