"""``[kernel]``: modules to load, modules to block, modules for the initrd, and arguments."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import RecipeError
from atoll.base.fields import find_near
from atoll.builder.steps.in_root import FileToWrite, write_files
from atoll.host.in_root import glob_in_root, in_root, read_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from atoll.recipe.model import Kernel

LOADED = "/usr/lib/modules-load.d/50-recipe.conf"
BLACKLIST = "/usr/lib/modprobe.d/50-recipe.conf"
INITRD = "/usr/lib/dracut/dracut.conf.d/60-recipe.conf"
_MODULE = re.compile(r"([^/]+)\.ko(?:\.(?:gz|xz|zst))?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class SetKernel:
    """Writes the files for modules. Kernel arguments are not in the root, but in ``image.json``."""

    kernel: Kernel
    title: str = "Choosing kernel modules"

    def parts(self) -> tuple[str, ...]:
        kernel = self.kernel
        return ("kernel 1", repr((kernel.modules, kernel.blacklist, kernel.initrd_modules)))

    def execute(self, root: Path, workspace: Path) -> None:
        kernel = self.kernel
        check_modules(root, kernel)
        texts = plan_files(kernel)
        files = [
            FileToWrite(path=path, content=f"{_base_text(root, path)}{text}".encode())
            for path, text in texts.items()
        ]
        if files:
            write_files(root, files, workspace=workspace, key="kernel")


def find_kernel(root: Path) -> str:
    """The version of the kernel. Raises RecipeError unless there is exactly one."""
    found = {path.name.removeprefix("vmlinuz-") for path in glob_in_root(root, "boot", "vmlinuz-*")}
    found |= {
        path.name
        for path in glob_in_root(root, "usr/lib/modules", "*")
        if not path.is_symlink() and os.path.lexists(path / "vmlinuz")
    }
    if len(found) == 1:
        return found.pop()
    if not found:
        raise RecipeError(
            "the root has no kernel",
            key="packages.install",
            hint="add one, for example linux-image-amd64",
        )
    raise RecipeError(
        f"the root has {len(found)} kernels: {', '.join(sorted(found))}",
        key="packages",
        hint="keep one; name the others in packages.remove",
    )


def plan_files(kernel: Kernel) -> dict[str, str]:
    """The files to write, by path; only those for keys that the recipe sets."""
    texts = {}
    if kernel.modules:
        texts[LOADED] = "".join(f"{name}\n" for name in kernel.modules)
    if kernel.blacklist:
        texts[BLACKLIST] = "".join(f"blacklist {name}\n" for name in kernel.blacklist)
    if kernel.initrd_modules:
        texts[INITRD] = f'add_drivers+=" {" ".join(kernel.initrd_modules)} "\n'
    return texts


def _base_text(root: Path, path: str) -> str:
    """What the recipe of the base wrote there: a derived recipe adds to it."""
    return read_text(root, path, missing="")


def kernel_arguments(kernel: Kernel, before: tuple[str, ...]) -> tuple[str, ...]:
    """The kernel arguments of the base (``before``) without ``remove_args``, then the recipe's own.
    Raises RecipeError when the base does not have an argument to remove."""
    for word in kernel.remove_args:
        if not any(is_meant(argument, word) for argument in before):
            raise RecipeError(
                f"the base has no kernel argument {word}",
                key="kernel.remove_args",
                hint=f"it has: {' '.join(before)}" if before else "it has none",
            )
    stay = [
        argument
        for argument in before
        if not any(is_meant(argument, word) for word in kernel.remove_args)
    ]
    return (*stay, *(argument for argument in kernel.args if argument not in stay))


def is_meant(argument: str, word: str) -> bool:
    """Whether ``word`` of ``remove_args`` means a kernel argument: the whole, or its name."""
    return word in (argument, argument.partition("=")[0])


def check_modules(root: Path, kernel: Kernel) -> None:
    """Raises RecipeError when the kernel of ``root`` lacks a module that the recipe names."""
    if not (kernel.modules or kernel.initrd_modules):
        return
    version = find_kernel(root)
    known = read_modules(in_root(root, f"usr/lib/modules/{version}"))
    for key, names in (("modules", kernel.modules), ("initrd_modules", kernel.initrd_modules)):
        for name in names:
            if plain(name) not in known:
                raise RecipeError(
                    f"the kernel {version} has no module {name}",
                    key=f"kernel.{key}",
                    hint=find_near(plain(name), known),
                )


def read_modules(directory: Path) -> frozenset[str]:
    """The names of the modules in a kernel's directory, and of those that are built in."""
    paths = [path.name for path in directory.rglob("*.ko*")]
    paths += read_text(directory, "modules.builtin", missing="").split()
    return frozenset(module_names(paths))


def module_names(paths: Iterable[str]) -> Iterable[str]:
    for path in paths:
        match = _MODULE.search(path)
        if match:
            yield plain(match.group(1))


def plain(name: str) -> str:
    """The module name with ``_`` for ``-``: modprobe treats both alike."""
    return name.replace("-", "_")
