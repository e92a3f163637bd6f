"""The Debian packages: built from the checkout, the same bytes each time, nothing lintian minds."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packages import copy_packages

TOP = Path(__file__).parents[2]
NEEDED = ("git", "dpkg-buildpackage", "dh", "dh_python3", "pybuild")

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, NEEDED)), reason=f"needs {', '.join(NEEDED)}"
)


def told(*words: str | Path, umask: int = 0o022) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, umask=umask)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_packages(tmp_path_factory.mktemp("package"), with_inputs=True)
    return folder / "atoll.deb"


@pytest.fixture(scope="module")
def system(package: Path) -> Path:
    return package.with_name("atoll-system.deb")


def test_what_is_lost_is_made_again_with_the_same_bytes(
    package: Path, system: Path, tmp_path: Path
) -> None:
    shutil.copy(package.with_name("atoll.deb.inputs"), tmp_path)
    shutil.copy(package, tmp_path)
    told(TOP / "debian" / "make", tmp_path, umask=0o077)
    for file in (package, system):
        assert digest(tmp_path / file.name) == digest(file)


def test_nothing_is_done_twice(package: Path) -> None:
    before = package.stat()
    told(TOP / "debian" / "make", package.parent)
    assert package.stat() == before


def test_an_unpacked_sdist_gives_the_same_packages(package: Path, tmp_path: Path) -> None:
    """It has no git, and what the wheel lacks: ``system/`` and ``debian/``."""
    git = ("git", "-c", f"safe.directory={TOP}", "-C", TOP)
    names = told(
        *git,
        "ls-files",
        "debian",
        "src",
        "system",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "MANIFEST.in",
    )
    checkout = tmp_path / "checkout"
    for name in names.splitlines():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TOP / name, checkout / name, follow_symlinks=False)
    code = "from setuptools.build_meta import build_sdist; build_sdist('..')"
    subprocess.run(["/usr/bin/python3", "-c", code], cwd=checkout, check=True, capture_output=True)
    (sdist,) = tmp_path.glob("*.tar.gz")
    told("tar", "--extract", "--file", sdist, "--directory", tmp_path)
    (folder,) = (path for path in tmp_path.glob("atoll-*") if path.is_dir())
    told(folder / "debian" / "make", tmp_path / "made")
    for name in ("atoll.deb", "atoll-system.deb"):
        assert digest(tmp_path / "made" / name) == digest(package.with_name(name))


def test_the_checkout_stays_clean(package: Path) -> None:
    assert package.exists()
    left = [path.name for path in (TOP / "debian").iterdir() if path.name.startswith(".debhelper")]
    assert left == []
    assert not (TOP / "debian" / "atoll").exists()


def test_what_is_in_it(package: Path, tmp_path: Path) -> None:
    told("dpkg-deb", "--extract", package, tmp_path)
    assert os.access(tmp_path / "usr/bin/atoll", os.X_OK)
    assert (tmp_path / "usr/lib/python3/dist-packages/atoll/cli/main.py").exists()
    tool = [path.relative_to(tmp_path) for path in tmp_path.glob("*/*")]
    assert not (tmp_path / "etc").exists()
    assert {str(path) for path in tool} == {"usr/bin", "usr/lib", "usr/share"}
    assert [path.name for path in (tmp_path / "usr/lib").iterdir()] == ["python3"]


def test_what_only_systems_carry_is_in_the_other(system: Path, tmp_path: Path) -> None:
    told("dpkg-deb", "--extract", system, tmp_path)
    mirrored = TOP / "system"
    names = told("git", "-c", f"safe.directory={TOP}", "-C", TOP, "ls-files", "system")
    for name in names.splitlines():
        here, there = TOP / name, tmp_path / (TOP / name).relative_to(mirrored)
        assert there.read_bytes() == here.read_bytes()
        assert os.access(there, os.X_OK) == os.access(here, os.X_OK), there


def test_its_units_run_by_themselves(system: Path, tmp_path: Path) -> None:
    """What is no link in such a directory, systemd ignores."""
    told("dpkg-deb", "--extract", system, tmp_path)
    units = tmp_path / "usr/lib/systemd/system"
    wanted = [path for kind in ("wants", "requires") for path in units.glob(f"*.{kind}/*")]
    assert {"atoll-bless.service", "atoll-health.service"} < {path.name for path in wanted}
    for path in wanted:
        assert path.readlink() == Path("..", path.name)
        assert path.exists()


def test_no_script_of_them_touches_services(package: Path, system: Path, tmp_path: Path) -> None:
    for file in (package, system):
        place = tmp_path / file.name
        told("dpkg-deb", "--control", file, place)
        for script in ("preinst", "postinst", "prerm", "postrm"):
            assert not (place / script).exists() or "systemctl" not in (place / script).read_text()


def test_they_say_what_they_need(package: Path, system: Path) -> None:
    """What makes an initrd is never brought to a computer that Atoll does not make."""
    words = told("dpkg-deb", "--field", package, "Depends", "Recommends", "Suggests")
    assert "python3-zstandard" in words
    for name in ("dracut", "initramfs", "fsverity", "dkms", "atoll-system"):
        assert name not in words
    version = told("dpkg-deb", "--field", package, "Version").strip()
    assert told("dpkg-deb", "--field", system, "Pre-Depends").strip() == f"atoll (= {version})"
    assert told("dpkg-deb", "--field", system, "Suggests").strip() == "dracut, fsverity"
    assert told("dpkg-deb", "--field", system, "Depends", "Recommends") == ""


@pytest.mark.skipif(not shutil.which("lintian"), reason="needs lintian")
def test_lintian_finds_no_error(package: Path, system: Path) -> None:
    told("lintian", "--allow-root", "--fail-on", "error", package, system)
