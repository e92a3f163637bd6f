"""Completion and the manual page know every verb and option, as the shells themselves see it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from atoll import __version__
from atoll.cli.completion import TEMPLATE, read_commands, write_all
from atoll.cli.main import VERBS

PAGE = Path(__file__).parents[3] / "debian/atoll.1.in"
BASH = """
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
compopt() { :; }
_atoll
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shells")
    write_all(folder, PAGE.read_text())
    return folder


def told(*words: str | Path) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def bash(made: Path, *line: str) -> set[str]:
    return set(told("bash", "-uc", BASH, "bash", made / "atoll.bash", "atoll", *line).split())


def fish(made: Path, line: str) -> set[str]:
    said = told("fish", "--no-config", "-c", f"source {made / 'atoll.fish'}; complete -C '{line}'")
    return {row.partition("\t")[0] for row in said.splitlines()}


def test_every_verb_and_word_after_one_is_known() -> None:
    paths = {command.path for command in read_commands()}
    assert {(verb.name,) for verb in VERBS} <= paths
    assert {("etc", "diff"), ("tree", "digest"), ("store", "list")} <= paths
    for command in read_commands():
        flags = {flag for option in command.options for flag in option.flags}
        assert {"--help", "--quiet"} <= flags, command.path


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes(made: Path) -> None:
    assert {verb.name for verb in VERBS} <= bash(made, "")
    assert bash(made, "bui") == {"build"}
    assert {"--store", "--locked", "--json"} <= bash(made, "build", "--")
    assert "--store" not in bash(made, "build", "")
    assert bash(made, "new", "--template", "se") == {"server"}
    assert {"diff", "reset"} <= bash(made, "etc", "")
    assert bash(made, "etc", "di") == {"diff"}
    assert "--help" in bash(made, "etc", "diff", "--he")
    assert bash(made, "build", "--store", "") == set(), "files are offered by the shell"


@pytest.mark.skipif(not shutil.which("fish"), reason="needs fish")
def test_fish_completes(made: Path) -> None:
    assert {verb.name for verb in VERBS} <= fish(made, "atoll ")
    assert fish(made, "atoll bui") == {"build"}
    assert {"--store", "--locked", "--json"} <= fish(made, "atoll build --")
    assert "server" in fish(made, "atoll new --template ")
    assert {"diff", "reset"} <= fish(made, "atoll etc ")


@pytest.mark.skipif(not shutil.which("zsh"), reason="needs zsh")
def test_zsh_takes_it(made: Path) -> None:
    told("zsh", "-n", made / "_atoll")
    defined = told(
        "zsh",
        "-fc",
        f"fpath=({made} $fpath); autoload -Uz compinit; compinit -D -u; "
        "autoload +X _atoll; print $_comps[atoll]; _arguments() { print -l -- $@ }; "
        f"words=(atoll build); source <(sed '/^_atoll \"/d' {made / '_atoll'}); _atoll_build",
    )
    assert defined.startswith("_atoll\n")
    assert "--locked[" in defined


@pytest.mark.skipif(not shutil.which("man"), reason="needs man")
def test_the_manual_page_has_all_verbs_and_no_mistake(made: Path) -> None:
    assert TEMPLATE in PAGE.read_text()
    shown = told(
        "env", "MANWIDTH=300", "LC_ALL=C.UTF-8", "man", "--warnings=w", "-l", made / "atoll.1"
    )
    assert __version__ in shown
    for command in read_commands():
        assert f"atoll {' '.join(command.path)}" in shown
        for option in command.options:
            assert option.flags[-1] in shown
    for verb in VERBS:
        assert verb.example in shown
