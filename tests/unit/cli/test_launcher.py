"""``./atoll`` of a checkout is the command, whoever calls it, from wherever, with whatever Python
first; and a library that is missing is named with the package to install."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from atoll import __version__
from atoll.cli.output.errors import print_failure

TOP = Path(__file__).parents[3]
LAUNCHER = TOP / "atoll"

pytestmark = pytest.mark.skipif(
    not Path("/usr/bin/python3").exists(), reason="needs Debian's Python"
)


def started(launcher: Path, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [launcher, "--version"],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_it_runs_from_any_directory_and_through_a_link(tmp_path: Path) -> None:
    link = tmp_path / "bin" / "atoll"
    link.parent.mkdir()
    link.symlink_to(LAUNCHER)
    for launcher in (LAUNCHER, link):
        assert started(launcher, tmp_path) == f"atoll {__version__}\n"


def test_another_python_and_its_modules_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "python3").write_text("#!/bin/sh\necho another python; exit 9\n")
    (tmp_path / "python3").chmod(0o755)
    (tmp_path / "atoll").mkdir()
    (tmp_path / "atoll/__init__.py").write_text("raise ValueError('another atoll')\n")
    (tmp_path / "json.py").write_text("raise ValueError('another json')\n")
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(tmp_path),
        "PYTHONHOME": "/nonexistent",
        "PYTHONSTARTUP": "/nonexistent",
    }
    assert started(LAUNCHER, tmp_path, **environment) == f"atoll {__version__}\n"


def test_sudo_knows_nothing_of_the_callers_environment(tmp_path: Path) -> None:
    done = subprocess.run(
        ["env", "-i", LAUNCHER, "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"atoll {__version__}\n"


@pytest.mark.parametrize("module", ["zstandard", "httpx", "httpcore._sync"])
def test_a_missing_library_is_no_mistake_of_atolls(
    module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert print_failure(ModuleNotFoundError(f"No module named {module!r}", name=module), []) == 4
    said = capsys.readouterr().err
    assert f"apt install python3-{module.partition('.')[0]}" in said
    assert "mistake" not in said


def test_a_module_of_its_own_that_is_missing_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_failure(ModuleNotFoundError("No module", name="atoll.nosuch"), []) == 70
    assert "a bug in Atoll" in capsys.readouterr().err


def test_a_python_without_the_libraries_says_what_to_do(tmp_path: Path) -> None:
    """As with a Python from elsewhere, which has none of Debian's modules."""
    code = (
        f"import sys; sys.path.insert(0, {str(TOP / 'src')!r}); "
        "from atoll.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    words: list[str | Path] = [
        "-I",
        "-S",
        "-c",
        code,
        "pull",
        "docker://127.0.0.1:1/x:1",
        "--store",
        tmp_path / "store",
    ]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    assert "apt install python3-" in done.stderr
    assert "mistake" not in done.stderr
