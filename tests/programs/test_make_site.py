"""``./make-site`` as a person runs it in a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import TOP

PARTS = (".ci", "docs", "examples", "make-site", "pyproject.toml", "README.md", "src", "tests")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Its virtual environment is the one that runs the tests."""
    names = subprocess.run(
        ["git", "-c", f"safe.directory={TOP}", "ls-files", "-z", *PARTS],
        cwd=TOP,
        capture_output=True,
        check=True,
    ).stdout
    there = [name for name in os.fsdecode(names).split("\0") if name and (TOP / name).exists()]
    subprocess.run(["cp", "--parents", "--target-directory", tmp_path, *there], cwd=TOP, check=True)
    venv = tmp_path / "build/venv"
    venv.mkdir(parents=True)
    (venv / "bin").symlink_to(Path(sys.executable).parent)
    words = ["sha256sum", "pyproject.toml"]
    mark = subprocess.run(words, cwd=tmp_path, capture_output=True, check=True)
    (venv / "made-from").write_bytes(mark.stdout)
    return tmp_path


def make_site(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["./make-site", *words], cwd=checkout, capture_output=True, text=True, check=False
    )


def test_it_says_where_the_site_is(checkout: Path) -> None:
    done = make_site(checkout)
    assert (done.returncode, done.stdout) == (0, "open build/docs/site/index.html\n"), done.stderr
    assert (checkout / "build/docs/site/index.html").is_file()


@pytest.mark.parametrize("link", ["nowhere.md", "GLOSSARY.md#nowhere", "../src/nowhere.py"])
def test_a_link_that_leads_nowhere_is_named(checkout: Path, link: str) -> None:
    with (checkout / "docs/index.md").open("a") as page:
        page.write(f"\n[wrong]({link})\n")
    done = make_site(checkout)
    assert done.returncode == 1
    assert link.rpartition("#")[2] in done.stderr
    assert "Traceback" not in done.stderr


def test_it_takes_no_words(checkout: Path) -> None:
    assert make_site(checkout, "--nonsense").returncode == 2
