"""A new repository builds as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import standin
from tests.programs.test_package import NEEDED, told

SOURCE = Path(__file__).parents[2] / "src"


def atoll(*words: str | Path) -> str:
    argv = [sys.executable, "-m", "atoll", *(str(word) for word in words)]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    done = subprocess.run(argv, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
@pytest.mark.root
@pytest.mark.network
def test_the_minimal_one_is_right_and_builds(tmp_path: Path) -> None:
    deb = standin.write_packages(tmp_path)
    atoll("new", tmp_path / "reef", "--deb", deb)
    store = ("--store", tmp_path / "store")
    assert "has no errors" in atoll("check", tmp_path / "reef", *store)
    tree = atoll("build", tmp_path / "reef", *store)
    assert (tmp_path / "store/images" / tree.strip()).is_file()
    assert "is right" in atoll("check", tmp_path / "reef", "--strict", *store)
    skipped = atoll("check", tmp_path / "reef", "--skip", "lock-missing", *store)
    assert "has no errors, 1 lint not checked" in skipped


@pytest.mark.long
@pytest.mark.root
@pytest.mark.network
@pytest.mark.parametrize("template", ["server", "desktop"])
def test_the_larger_ones_build(template: str, tmp_path: Path) -> None:
    deb = standin.write_packages(tmp_path)
    atoll("new", tmp_path / "reef", "--deb", deb, "--template", template)
    store = ("--store", tmp_path / "store")
    atoll("build", tmp_path / "reef", *store)
    assert "is right" in atoll("check", tmp_path / "reef", *store)


@pytest.mark.skipif(not all(map(shutil.which, NEEDED)), reason=f"needs {', '.join(NEEDED)}")
def test_a_checkout_packs_itself(tmp_path: Path) -> None:
    atoll("new", tmp_path / "reef", "--template", "server")
    system = tmp_path / "reef/atoll-system.deb"
    assert told("dpkg-deb", "--field", system, "Package") == "atoll-system\n"
    deb = tmp_path / "reef/atoll.deb"
    assert told("dpkg-deb", "--field", deb, "Package") == "atoll\n"
    listing = told("dpkg-deb", "--contents", deb)
    for name in ("minimal/atoll.toml", "common/ci.sh", "common/gitignore"):
        assert f"atoll/recipe/templates/{name}" in listing
