"""The command line: help, words of other tools, and every way to end."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll import __version__
from atoll.base.errors import AtollError, NothingToDo, ProgramFailed, RecipeError
from atoll.cli import main as main_module
from atoll.cli.arguments import ROLES
from atoll.cli.foreign_verbs import OURS, refuse_package_names
from atoll.cli.main import VERBS, Verb, format_help, main

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from atoll.base.report import Reporter

SOURCE = Path(__file__).parents[3] / "src"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCE)}


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int]], None]:
    """Makes ``atoll fake`` run a function."""

    def install(body: Callable[[], int]) -> None:
        def add_arguments(parser: argparse.ArgumentParser) -> None:
            parser.add_argument("name", nargs="?")

        def run(_arguments: argparse.Namespace, _reporter: Reporter) -> int:
            return body()

        module = types.ModuleType("atoll.cli.fake")
        module.__dict__.update(add_arguments=add_arguments, run=run)
        monkeypatch.setitem(sys.modules, "atoll.cli.fake", module)
        fake = Verb("fake", "maker", "do as told", "atoll fake x")
        monkeypatch.setattr(main_module, "VERBS", (*VERBS, fake))

    return install


def raises(error: BaseException) -> Callable[[], int]:
    def body() -> int:
        raise error

    return body


def test_help_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["-h"], ["help"]):
        assert main(words) == 0
        assert capsys.readouterr().out == format_help()
    assert max(map(len, format_help().splitlines())) <= 80


@pytest.mark.parametrize("name", [verb.name for verb in VERBS])
def test_every_verb_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([name, "--help"], ["help", name]):
        assert main(words) == 0
        out = capsys.readouterr().out
        assert f"example:\n  atoll {name}" in out
        assert max(map(len, out.splitlines())) <= 80


def test_every_file_of_a_verb_is_in_the_table() -> None:
    folder = SOURCE / "atoll" / "cli"
    files = {path.stem for path in folder.glob("*.py") if "def add_arguments" in path.read_text()}
    assert {verb.name for verb in VERBS} == files


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"atoll {__version__}\n"


def test_alone_says_how_to_start(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(main_module, "BOOTED", str(tmp_path / "booted"))
    assert main([]) == 0
    out = capsys.readouterr().out
    assert "atoll check" in out
    assert len(out.splitlines()) < 15


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["update"], "Atoll calls it upgrade", "atoll upgrade --help"),
        (["dnf"], "there is no verb", "atoll --help"),
        (["lint"], "Atoll calls it check", "atoll check --help"),
        (["chek"], "no verb 'chek'", "did you mean: atoll check"),
        (["xyzzy"], "no verb 'xyzzy'", "atoll --help"),
        (["--json"], "the verb must come before", "atoll --help"),
        (["install", "htop"], "not packages", "htop"),
        (["install", "htop", "vim"], "not packages", "atoll add htop vim"),
        (["check", "--jsn"], "unrecognized arguments: --jsn", "atoll check --help"),
        (["check", "--js"], "unrecognized arguments: --js", "atoll check --help"),
        (["lock", "--upate"], "unrecognized arguments: --upate", "did you mean: --update; see:"),
    ],
)
def test_wrong_words(
    words: list[str], message: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    first, second = told.err.splitlines()
    assert first.startswith("atoll: ")
    assert message in first
    assert hint in second


@pytest.mark.parametrize("word", ROLES)
def test_a_deployment_is_no_package(word: str) -> None:
    """``atoll install booted`` installs the running system elsewhere."""
    refuse_package_names(["install", word])


def test_no_word_of_others_is_a_verb_of_ours() -> None:
    assert not {verb.name for verb in VERBS} & OURS.keys()


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (AtollError("odd", hint="do this"), 1, "atoll: odd\n  do this\n"),
        (NothingToDo("all is as asked"), 77, "atoll: all is as asked\n"),
        (RecipeError("bad", file="a", line=3, key="k.l"), 2, "atoll: a:3: k.l: bad\n"),
        (AtollError("bell \x07 and \x1b[31m red"), 1, "atoll: bell \\x07 and \\x1b[31m red\n"),
        (KeyboardInterrupt(), 130, "atoll: interrupted\n"),
        (MemoryError(), 13, "atoll: not enough memory\n  see: free -h\n"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, ""),
        (
            OSError(errno.ENOSPC, "No space left on device", "/x"),
            6,
            "atoll: /x: No space left on device\n  see: df -h\n",
        ),
        (
            OSError(errno.EIO, "Input/output error", "/x", None, "/y"),
            1,
            "atoll: /x -> /y: Input/output error\n  the disk or stick is failing: see dmesg\n",
        ),
        (
            ValueError("what"),
            70,
            "atoll: a bug in Atoll: ValueError: what\n"
            "  please report it with the output of: ATOLL_DEBUG=1 atoll fake 'a b'\n",
        ),
    ],
)
def test_each_error_has_its_words_and_code(
    error: BaseException,
    code: int,
    told: str,
    verb: Callable[[Callable[[], int]], None],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What drops stdout must not drop the one of the tests.
    monkeypatch.setattr("atoll.cli.output.errors._drop_stdout", lambda: None)
    verb(raises(error))
    assert main(["fake", "a b"]) == code
    assert capfd.readouterr().err == told


def test_a_failed_program_is_shown_so_that_it_can_be_run_again(
    verb: Callable[[Callable[[], int]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    verb(raises(ProgramFailed(["apt", "install", "a b"], 100, "E: no\n")))
    assert main(["fake"]) == 12
    assert (
        "  command: apt install 'a b'\n  last lines of its output:\n    E: no\n"
        in capsys.readouterr().err
    )


def test_traceback_only_when_asked_for(
    verb: Callable[[Callable[[], int]], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verb(raises(ValueError("what")))
    main(["fake"])
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setenv("ATOLL_DEBUG", "1")
    assert main(["fake"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_exit_codes_are_documented_and_never_shared() -> None:
    def below(kind: type[AtollError]) -> list[type[AtollError]]:
        return [kind, *(leaf for child in kind.__subclasses__() for leaf in below(child))]

    page = (SOURCE.parent / "docs" / "reference" / "exit-codes.md").read_text()
    codes: dict[int, set[str]] = {}
    for kind in below(AtollError):
        codes.setdefault(kind.exit_code, set()).add(kind.__name__)
        assert f"| {kind.exit_code} |" in page, f"{kind.__name__} is not in exit-codes.md"
    assert codes.pop(2) == {"UsageError", "RecipeError"}
    assert codes.pop(10) == {"PackageError", "ArchiveError"}
    assert all(len(names) == 1 for names in codes.values()), codes


def modules_loaded_by(program: str, heavy: set[str]) -> list[str]:
    """Which of ``heavy`` are loaded when ``program`` has run."""
    program = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); {program}"
    program += f"; print(*(sys.modules.keys() & {heavy!r}), file=sys.stderr)"
    words = [sys.executable, "-I", "-S", "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()[-1].split()


def test_help_imports_no_more_than_it_needs() -> None:
    heavy = {"argparse", "dataclasses", "pathlib", "json", "tomllib", "shutil", "inspect"}
    program = "from atoll.cli.main import main; main(['--help'])"
    assert modules_loaded_by(program, heavy) == []


SPLIT = sorted(
    path.stem for path in (SOURCE / "atoll/cli/run").glob("*.py") if path.stem != "__init__"
)


@pytest.mark.parametrize("verb", [*SPLIT, "status", "history"])
def test_help_of_a_verb_imports_nothing_that_only_running_it_needs(verb: str) -> None:
    heavy = {"ssl", "asyncio", "concurrent.futures", "http.client", "subprocess", "zstandard"}
    heavy |= {f"atoll.{name}" for name in ("oci.source", "machine.upgrade", "builder.build")}
    if verb in SPLIT:
        heavy |= {"atoll.store", "atoll.machine", "atoll.builder", "atoll.lint", "atoll.inspect"}
    program = f"from atoll.cli.main import main; assert main([{verb!r}, '--help']) == 0"
    assert modules_loaded_by(program, heavy) == []


def test_each_boot_does_not_wait_for_what_only_a_few_boots_need() -> None:
    """Each boot runs ``health run`` and ``health bless``, and hardly one goes back."""
    heavy = {"atoll.machine.rollback", "atoll.machine.reset", "atoll.oci.pull", "ssl"}
    assert modules_loaded_by("import atoll.cli.run.health", heavy) == []


def test_status_of_a_running_machine_reads_no_kernel_and_no_tree(tmp_path: Path) -> None:
    """It must feel instant: what takes long to read is noted in each boot."""
    (tmp_path / "atoll/deployments").mkdir(parents=True)
    (tmp_path / "loader/entries").mkdir(parents=True)
    program = (
        "from argparse import Namespace; from pathlib import Path; "
        "from atoll.base.report import NullReporter; from atoll.cli import status; "
        f"from atoll.machine.deployments.sysroot import Sysroot; here = Path({str(tmp_path)!r}); "
        "status.find_sysroot = lambda _: Sysroot(root=here, esp=here, booted=1); "
        "status.run(Namespace(root=None, json=False, publish=False), NullReporter())"
    )
    heavy = {"zstandard", "subprocess", "asyncio", "http.client", "hashlib"}
    assert modules_loaded_by(program, heavy | {"atoll.machine.deployments.boot_check"}) == []


SLEEPER = """
import sys, time, types
from atoll.cli import main as m

def run(arguments, reporter):
    try:
        print("ready", flush=True)
        while True:  # not pause(): a signal just before it would be noticed after the next one
            time.sleep(0.02)
    finally:
        print("cleaned up", flush=True)

module = types.ModuleType("atoll.cli.fake")
module.add_arguments = lambda parser: None
module.run = run
sys.modules["atoll.cli.fake"] = module
m.VERBS += (m.Verb("fake", "maker", "sleep", "atoll fake"),)
sys.exit(m.main(["fake"]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_cleanly(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, err = process.communicate()
    assert out == "cleaned up\n"
    assert err == "atoll: interrupted\n"
    assert process.returncode == 130


def atoll(*words: str, stdout: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "atoll", *words],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )


def test_nobody_reads_stdout() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = atoll("--help", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_stdout_is_full() -> None:
    with Path("/dev/full").open("w") as full:
        done = atoll("--help", stdout=full.fileno())
    assert done.returncode == 6
    assert done.stderr == "atoll: No space left on device\n  see: df -h\n"
