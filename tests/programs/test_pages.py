"""The tutorials, followed command by command in a fresh directory by somebody who types them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cache import CACHE, alone
from tests.pages import TOP, followed_pages, matches, read_blocks, read_commands
from tests.programs.test_oci_layout import LIMITS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.pages import Command


PODMAN = """#!/bin/sh
verb=$1; shift
set -- %s "$verb" %s "$@"
[ ! -e /sys/fs/cgroup/cgroup.controllers ] || exec "$@"
exec unshare -m sh -c 'mount -t cgroup2 none /sys/fs/cgroup && exec "$@"' sh "$@"
"""
"""podman where tests run: in a container, which may raise no limits, with control groups of both
kinds."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files of the checkout as somebody clones them, with changes that are not committed."""
    folder = tmp_path / "atoll"
    folder.mkdir()
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={TOP}", "ls-files", "-z"],
        cwd=TOP,
        capture_output=True,
        check=True,
    )
    subprocess.run(
        [
            "cp",
            "--parents",
            "--no-dereference",
            "--target-directory",
            folder,
            *(
                name
                for name in os.fsdecode(listed.stdout).split("\0")
                if name and (TOP / name).exists()
            ),
        ],
        cwd=TOP,
        check=True,
    )
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The command ``atoll``, and the store of these tests at the usual place of a store."""
    command = tmp_path / "bin/atoll"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m atoll "$@"\n')
    command.chmod(0o755)
    (command.parent / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (command.parent / "sudo").chmod(0o755)
    (command.parent / "podman").write_text(PODMAN % (shutil.which("podman"), LIMITS))
    (command.parent / "podman").chmod(0o755)
    data = tmp_path / "data"
    data.mkdir()
    (CACHE / "store").mkdir(parents=True, exist_ok=True)
    (data / "atoll").symlink_to(CACHE / "store")
    with alone("store"):
        yield os.environ | {
            "PATH": f"{command.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(TOP / "src"),
            "XDG_DATA_HOME": str(data),
        }


@pytest.mark.root
@pytest.mark.network
@pytest.mark.parametrize("page", followed_pages(), ids=lambda page: page.stem)
def test_a_tutorial_can_be_followed(
    page: Path, checkout: Path, environment: dict[str, str], request: pytest.FixtureRequest
) -> None:
    """From the checkout; what takes long only with --long."""
    here, written = checkout, set[Path]()
    marks = {"run", "run --long"} if request.config.getoption("--long") else {"run"}
    for block in read_blocks(page):
        if block.file is not None:
            file = here / block.file
            with file.open("a" if file in written else "x") as stream:
                stream.write(block.text)
            written.add(file)
        for command in read_commands(block) if block.mark in marks else ():
            if command.text.startswith("cd "):
                here /= command.text.removeprefix("cd ")
            else:
                follow(command, here, environment)


def follow(command: Command, here: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        ["bash", "-c", command.text],
        cwd=here,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == command.status, f"line {command.line}: {done.stderr}"
    assert matches(command.output, done.stdout), f"line {command.line}: {done.stdout}"
