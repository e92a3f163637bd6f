"""Where an Atoll that was installed from files looks for its packages, and its error."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "src/atoll"
LOOK = """
import sys
from pathlib import Path
from atoll.base.errors import NotFound
from atoll.debian.atoll_package import find_own_packages
try:
    find_own_packages(Path(sys.argv[1]))
except NotFound as error:
    print(error.message, error.hint, sep="\\n")
"""


def test_an_installed_atoll_that_apt_does_not_have_says_where_to_put_its_files(
    tmp_path: Path,
) -> None:
    shutil.copytree(SOURCE, tmp_path / "lib/atoll", ignore=shutil.ignore_patterns("__pycache__"))
    programs = {
        "dpkg-query": "printf 1:2.3~rc1",
        "apt-get": "echo \"E: Version '1:2.3~rc1' for 'atoll' was not found\" >&2; exit 100",
    }
    for name, text in programs.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", LOOK, tmp_path / "place"],
        env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "PYTHONPATH": f"{tmp_path}/lib"},
        capture_output=True,
        text=True,
        check=True,
    )
    told = done.stdout
    assert "sudo cp atoll.deb /var/cache/apt/archives/atoll_1%3a2.3~rc1_all.deb" in told
    assert "sudo cp atoll-system.deb /var/cache/apt/archives/atoll-system_1%3a2.3~rc1" in told
    assert '["./atoll.deb", "./atoll-system.deb"]' in told
