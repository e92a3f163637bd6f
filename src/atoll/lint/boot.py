"""Lints of what a system needs to boot: kernel, init, kernel arguments, modules, base image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.lint.model import FactKind, Finding, Lint, Severity
from atoll.lint.packages import INSTALL
from atoll.recipe.model import DebianBase, EmptyBase, ImageBase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.lint.model import LintSubject

ATOLL = "atoll-system"
_META = (
    "linux-image-amd64",
    "linux-image-arm64",
    "linux-image-cloud-amd64",
    "linux-image-cloud-arm64",
    "linux-image-rt-amd64",
    "linux-image-rt-arm64",
)
"""Metapackages: they depend on the package with the kernel."""
_REPEATABLE = ("console", "module_blacklist", "earlycon", "memmap", "pci", "usbcore.quirks")
"""Arguments of which the kernel uses all values, not only the last one."""


def check_kernel(subject: LintSubject) -> Iterator[Finding]:
    if _is_standalone(subject) and not _kernels(subject):
        yield Finding(
            message="no kernel is installed",
            hint="add one: linux-image-amd64, or for virtual machines linux-image-cloud-amd64",
            key=INSTALL,
        )


def check_one_kernel(subject: LintSubject) -> Iterator[Finding]:
    kernels = _kernels(subject)
    if len(kernels) > 1:
        yield Finding(
            message=f"more than one kernel is installed: {', '.join(kernels)}",
            hint="a tree has exactly one kernel: list the others in [packages] remove",
            key=INSTALL,
        )


def _kernels(subject: LintSubject) -> list[str]:
    plan = subject.facts.plan or ()
    names = {package.name for package in plan if package.name.startswith("linux-image-")}
    return sorted(name for name in names if name not in _META and not name.endswith("-dbg"))


def check_init(subject: LintSubject) -> Iterator[Finding]:
    if _is_standalone(subject) and not subject.facts.plans("systemd-sysv"):
        yield Finding(
            message="no init system is installed",
            hint='add "systemd-sysv" to [packages] install',
            key=INSTALL,
        )


def check_atoll(subject: LintSubject) -> Iterator[Finding]:
    if _is_standalone(subject) and not subject.facts.plans(ATOLL):
        yield Finding(
            message="atoll-system is not installed: a tree cannot boot without it",
            hint="name no file, version or suite for atoll: Atoll adds it and atoll-system itself; "
            "or name the .deb files of both",
            key=INSTALL,
        )


def _is_standalone(subject: LintSubject) -> bool:
    """Whether the system has no packages from a base image or another recipe."""
    return isinstance(subject.recipe.base, DebianBase | EmptyBase)


def check_arguments(subject: LintSubject) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for argument in subject.recipe.kernel.args:
        name = argument.partition("=")[0].replace("-", "_")
        if name in _REPEATABLE and seen.get(name) != argument:
            seen[name] = argument
        elif name in seen:
            yield Finding(
                message=f"{argument} is given after {seen[name]}",
                hint="for most arguments the kernel uses the last value: remove one of them",
                key="kernel.args",
                value=argument,
            )
        seen.setdefault(name, argument)


def check_removed_arguments(subject: LintSubject) -> Iterator[Finding]:
    if not _is_standalone(subject):
        return
    for argument in subject.recipe.kernel.remove_args:
        yield Finding(
            message=f"{argument} cannot be removed: the recipe has no base image",
            hint="remove it from remove_args, or from args",
            key="kernel.remove_args",
            value=argument,
        )


def check_modules(subject: LintSubject) -> Iterator[Finding]:
    kernel = subject.recipe.kernel
    for name in sorted({*kernel.modules, *kernel.initrd_modules} & {*kernel.blacklist}):
        yield Finding(
            message=f"the module {name} is both loaded and blacklisted",
            hint="remove it from one of the two lists",
            key="kernel.blacklist",
            value=name,
        )


def check_base(subject: LintSubject) -> Iterator[Finding]:
    base = subject.recipe.base
    if not isinstance(base, ImageBase) or "@sha256:" in base.reference:
        return
    tag = _tag(base.reference)
    if tag == "latest":
        yield Finding(
            message=f"the base {base.reference} can change: the tag latest "
            "means whatever was pushed last",
            hint="name a version as the tag",
            key="from",
            value=base.reference,
        )
    elif subject.lock is None or subject.lock.base is None:
        yield Finding(
            message=f"nothing pins the image {base.reference}",
            hint="pin it with atoll lock, or write its digest: NAME@sha256:…",
            key="from",
            value=base.reference,
        )


def check_boxes(subject: LintSubject) -> Iterator[Finding]:
    for box in subject.recipe.boxes:
        if "@sha256:" not in box.image and _tag(box.image) == "latest":
            yield Finding(
                message=f"the image of box {box.name} can change: the tag latest "
                "means whatever was pushed last",
                hint="name a version as the tag",
                key="box.image",
                value=box.image,
            )


def _tag(reference: str) -> str:
    """The tag of an image reference; ``latest`` if a registry would use that by default."""
    scheme, _, rest = reference.partition(":")
    if scheme == "store":
        return ""
    name = rest.removeprefix("//") if scheme == "docker" else reference
    return name.rpartition("/")[2].partition(":")[2] or "latest"


def check_follow(subject: LintSubject) -> Iterator[Finding]:
    update, publish = subject.recipe.update, subject.recipe.publish
    if update.auto != "none" and update.follow is None and publish.to is None:
        yield Finding(
            message="automatic updates are on, but the recipe names no image to follow",
            hint="name the image with [update] follow, or with [publish] to",
            key="update.auto",
            value=update.auto,
        )


def check_passphrase_keyboard(subject: LintSubject) -> Iterator[Finding]:
    """``systemd-cryptsetup`` in a recipe says that it is for encrypted disks."""
    keymap, facts = subject.recipe.system.keymap, subject.facts
    if not _is_standalone(subject) or not facts.plans("systemd-cryptsetup"):
        return
    missing = [name for name in ("kbd", "console-setup") if not facts.plans(name)]
    if keymap not in (None, "us") and missing:
        yield Finding(
            message="the passphrase of an encrypted disk would be typed on an American keyboard "
            f"without {' and '.join(missing)}",
            hint=f"add to [packages] install: {', '.join(missing)}",
            key="system.keymap",
            value=keymap,
        )


LINTS = (
    Lint(
        name="passphrase-keyboard",
        severity=Severity.WARNING,
        summary="the passphrase of an encrypted disk is typed on an American keyboard",
        why="Early boot takes the layout that ckbcomp (console-setup) compiles and loadkeys (kbd) "
        "loads. Without them only the American layout works there.",
        check=check_passphrase_keyboard,
        needs=(FactKind.PLAN,),
    ),
    Lint(
        name="kernel-missing",
        severity=Severity.FATAL,
        summary="no kernel is installed",
        why="A tree without a kernel cannot boot, so Atoll does not build it.",
        check=check_kernel,
        needs=(FactKind.PLAN,),
    ),
    Lint(
        name="kernels-two",
        severity=Severity.FATAL,
        summary="more than one kernel is installed",
        why="A tree has exactly one kernel, so that its digest says what runs.",
        check=check_one_kernel,
        needs=(FactKind.PLAN,),
    ),
    Lint(
        name="init-missing",
        severity=Severity.FATAL,
        summary="no init system is installed",
        why="systemd-sysv makes systemd the init process.",
        check=check_init,
        needs=(FactKind.PLAN,),
    ),
    Lint(
        name="atoll-missing",
        severity=Severity.FATAL,
        summary="the package atoll-system is not installed",
        why="atoll-system has the early-boot code that verifies and "
        "mounts the tree, units and hooks.",
        check=check_atoll,
        needs=(FactKind.PLAN,),
    ),
    Lint(
        name="argument-twice",
        severity=Severity.WARNING,
        summary="a kernel argument is given twice",
        why="For most arguments the kernel uses only the last value.",
        check=check_arguments,
    ),
    Lint(
        name="argument-of-no-base",
        severity=Severity.FATAL,
        summary="the recipe removes a kernel argument of its base, but has no base",
        why="Only recipes that are derived from an image or another recipe inherit arguments.",
        check=check_removed_arguments,
    ),
    Lint(
        name="module-both-ways",
        severity=Severity.WARNING,
        summary="a kernel module is both loaded and blacklisted",
        why="A module that is loaded by name is loaded in spite of the blacklist.",
        check=check_modules,
    ),
    Lint(
        name="base-unpinned",
        severity=Severity.WARNING,
        summary="the base image is not pinned",
        why="A tag can move to another image. A lock pins the base "
        "by digest. `latest` is any version.",
        check=check_base,
    ),
    Lint(
        name="box-unpinned",
        severity=Severity.WARNING,
        summary="the image of a box is not pinned",
        why="`latest`, or no tag at all, means whatever was pushed last.",
        check=check_boxes,
    ),
    Lint(
        name="update-from-nowhere",
        severity=Severity.WARNING,
        summary="automatic updates are on, but the recipe names no image to follow",
        why="Machines then follow what they were installed from, which may be a deleted file.",
        check=check_follow,
    ),
)
