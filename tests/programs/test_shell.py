"""Every shell script that goes onto a machine, read by shellcheck."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEM = Path(__file__).parents[2] / "system"


def scripts() -> list[Path]:
    """The parts of early boot are checked with the program that sources them."""
    found = []
    for path in sorted(SYSTEM.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.parent.name != "early-boot.d":
            first = path.read_bytes().partition(b"\n")[0]
            if first.startswith(b"#!") and first.endswith((b"/sh", b"/bash")):
                found.append(path)
    return found


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
@pytest.mark.parametrize("path", scripts(), ids=lambda path: path.name)
def test_a_script_has_nothing_to_complain_about(path: Path) -> None:
    words = ["shellcheck", "--external-sources", "--check-sourced", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


PACKAGES = Path(__file__).parents[2] / ".ci/packages"


def as_user(user: str, command: str, folder: Path) -> str:
    """What a shell of ``user`` says that has read .ci/packages."""
    words = [
        "setpriv",
        f"--reuid={user}",
        "--regid=nogroup",
        "--clear-groups",
        "bash",
        "-euc",
        f"source '{folder}/packages'; cd '{folder}'; {command}",
    ]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.root
def test_what_root_made_in_build_stands_in_nobodys_way(tmp_path: Path) -> None:
    """After ``sudo ./try`` and ``sudo ./test`` the next command works without sudo."""
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.stat().st_mode & 0o005 == 0o005:  # others can enter here, and above
            break
        parent.chmod(0o755)
    shutil.copy(PACKAGES, tmp_path / "packages")
    user = pwd.getpwnam("nobody")
    words = ["bash", "-euc", "source ./packages; make_build; mkdir build/venv build/log"]
    environment = {"PATH": os.environ["PATH"], "SUDO_UID": f"{user.pw_uid}", "SUDO_GID": "0"}
    subprocess.run(words, cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "build").stat().st_uid == user.pw_uid
    place = as_user(
        "nobody", 'place=$(own_place build/venv); mkdir "$place"; echo "$place"', tmp_path
    )
    assert place == f"build/venv-{user.pw_uid}"
    assert as_user("nobody", "own_place build/new; own_place build", tmp_path) == "build/new\nbuild"
