"""Lints of real hardware: firmware and microcode, which Debian packages apart from the kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.lint.model import FactKind, Finding, Lint, Severity
from atoll.lint.packages import INSTALL
from atoll.recipe.model import DebianBase, EmptyBase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.lint.model import LintFacts, LintSubject

COMPONENT = "non-free-firmware"
_MICROCODE = ("intel-microcode", "amd64-microcode")


def check_firmware(subject: LintSubject) -> Iterator[Finding]:
    if _is_for_hardware(subject.facts) and not subject.facts.plans("firmware-*"):
        yield Finding(
            message="no firmware is installed: many network, graphics and sound devices need it",
            hint="add firmware-linux-free, or from the component non-free-firmware "
            "firmware-linux and that of the wireless card, such as firmware-iwlwifi; virtual "
            "machines need none with linux-image-cloud-amd64",
            key=INSTALL,
        )


def check_component(subject: LintSubject) -> Iterator[Finding]:
    recipe = subject.recipe
    listed = recipe.debian.components or ("main",)
    standalone = isinstance(recipe.base, DebianBase | EmptyBase)
    if standalone and _is_for_hardware(subject.facts) and COMPONENT not in listed:
        wanted = ", ".join(f'"{name}"' for name in (*listed, COMPONENT))
        yield Finding(
            message=f"the component {COMPONENT} is not used: it has the microcode of processors "
            "and the firmware of most wireless, graphics and sound devices",
            hint=f"[debian] components = [{wanted}]; then name the packages of your hardware",
            key="debian" if recipe.debian.components is None else "debian.components",
        )


def check_microcode(subject: LintSubject) -> Iterator[Finding]:
    facts = subject.facts
    x86 = any(_is_x86_kernel(package.name) for package in facts.plan or ())
    if _is_for_hardware(facts) and x86 and not facts.plans(*_MICROCODE):
        yield Finding(
            message="no microcode is installed: processors run with the faults that they were "
            "sold with, unless the computer's firmware is up to date",
            hint=f"add {' and '.join(_MICROCODE)}, from the component {COMPONENT}; the build puts "
            "them into the initrd",
            key=INSTALL,
        )


def _is_for_hardware(facts: LintFacts) -> bool:
    return facts.plans("linux-image-*") and not facts.plans("linux-image-cloud-*")


def _is_x86_kernel(package: str) -> bool:
    return package.startswith("linux-image-") and package.endswith(("-amd64", "-686-pae"))


LINTS = (
    Lint(
        name="firmware-missing",
        severity=Severity.WARNING,
        summary="no firmware for real hardware is installed",
        why="Many drivers load firmware that Debian packages separately from the kernel. "
        "Virtual machines need none.",
        check=check_firmware,
        needs=(FactKind.PLAN,),
    ),
    Lint(
        name="firmware-component-missing",
        severity=Severity.WARNING,
        summary="Debian's component non-free-firmware is not used",
        why="Debian has the firmware that is not free software in a component of its own. Without "
        "it Wi-Fi, graphics or sound of most laptops do not work, and processors get no microcode. "
        "Virtual machines need none.",
        check=check_component,
        needs=(FactKind.PLAN,),
    ),
    Lint(
        name="microcode-missing",
        severity=Severity.WARNING,
        summary="no microcode for processors is installed",
        why="Intel and AMD correct faults of processors, also security holes, by microcode that is "
        "loaded at each start. The kernel loads it from the initrd, where the build puts it. The "
        "package for the other maker's processors does no harm.",
        check=check_microcode,
        needs=(FactKind.PLAN,),
    ),
)
