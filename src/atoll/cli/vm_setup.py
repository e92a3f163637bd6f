"""Shared by ``atoll vm`` and ``atoll test``: which image is meant, and a temporary disk of it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING
from uuid import uuid4

from atoll.base.errors import NotFound, UsageError
from atoll.builder.use_lock import is_current
from atoll.cli.arguments import format_option
from atoll.cli.references import fetch_word
from atoll.host.fs import temporary_directory
from atoll.host.run import run
from atoll.image.bootable import read_bootable
from atoll.machine.disk import DiskSpec, LiveSpec, make_disk
from atoll.machine.disk_layout import SECTOR, derive_identity
from atoll.oci.layout import is_layout
from atoll.recipe.language.parse import read_recipe
from atoll.vm.qemu import find_firmware, has_kvm, require_qemu, temporary_place

GPT = b"EFI PART"

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from atoll.base.report import Reporter


def find_recipe(text: str) -> Path | None:
    """The path of the recipe that ``text`` names; None if it names an image."""
    path = Path(text)
    return path if path.suffix == ".toml" or (path.is_dir() and not is_layout(path)) else None


def find_reference(arguments: argparse.Namespace, text: str) -> str:
    """The reference of the image: the last build of a recipe, or the image that ``text`` names.
    Raises UsageError, NotFound or RecipeError."""
    path = find_recipe(text)
    if path is None:
        if arguments.variant is not None:
            raise UsageError("--variant is for recipes", hint=f"{text} is an image")
        return text
    try:
        return f"store:{read_recipe(path, arguments.variant).image.name}"
    except NotFound as error:
        if text != ".":
            raise
        hint = f"{error.hint}; or name an image: store:NAME (atoll store list), oci:DIR:TAG"
        raise NotFound(error.message, hint=hint) from error


def is_disk_image(path: Path) -> bool:
    """Whether a file has a GPT, as raw disk images do that boot by UEFI."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return os.pread(file.fileno(), len(GPT), SECTOR) == GPT


@contextmanager
def copied_disk(image: Path, reporter: Reporter) -> Iterator[Path]:
    """A copy of a disk image for a machine to write to, which is removed afterwards."""
    require_qemu()
    find_firmware()
    with temporary_directory(temporary_place(), prefix="atoll-disk-") as directory:
        disk = directory / "disk.img"
        with reporter.step(f"Copying {image}"):
            run(["cp", "--sparse=always", "--reflink=auto", image, disk])
        yield disk


@contextmanager
def temporary_disk(
    reference: str,
    arguments: argparse.Namespace,
    reporter: Reporter,
    *,
    recipe: Path | None,
    live: bool = False,
) -> Iterator[tuple[Path, str]]:
    """A bootable disk image, which is removed afterwards, and the digest of the tree on it."""
    require_qemu()
    find_firmware()
    try:
        image = fetch_word(reference, arguments.store, reporter)
    except NotFound as error:
        if recipe is None:
            raise
        hint = f"build it first: {_build_command(recipe, arguments)}"
        raise NotFound(error.message, hint=hint) from error
    if recipe is not None and not is_current(read_recipe(recipe, arguments.variant), image.tree):
        command = _build_command(recipe, arguments)
        reporter.notice(f"{reference} is older than {recipe}; to update it: {command}")
    with temporary_directory(temporary_place(), prefix="atoll-disk-") as directory:
        disk = directory / "disk.img"
        make_disk(
            read_bootable(image.store, image.tree),
            image.origin,
            disk,
            source=image.store,
            spec=DiskSpec(
                size=None,
                identity=derive_identity(uuid4()),
                live=LiveSpec() if live else None,
            ),
            reporter=reporter,
        )
        yield disk, image.tree


def _build_command(recipe: Path, arguments: argparse.Namespace) -> str:
    variant = format_option("--variant", arguments.variant)
    return f"atoll build {quote(str(recipe))}{variant}{format_option('--store', arguments.store)}"


def choose_cpus(wanted: int | None, *, kvm: bool) -> int:
    """The number of virtual CPUs: more than one does not speed up emulation."""
    return wanted or (2 if kvm else 1)


def choose_kvm(reporter: Reporter) -> bool:
    kvm = has_kvm()
    if not kvm:
        reporter.notice("KVM is not available: emulation is much slower")
    return kvm
