"""What docs/howto/instead-of.md says is what the commands themselves say on a machine."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from atoll.cli.main import main

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs/howto/instead-of.md").read_text()
SCRIPTS = TOP / "system/usr/lib/atoll"


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


REFUSED = [
    (command, here, image)
    for commands, here, image in rows("Commands that print a replacement")
    for command in re.findall(r"`([^`]+)`", commands)
]


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A directory of commands as a machine has them, and real ones that only say their names."""
    (tmp_path / "booted").touch()
    (tmp_path / "bin").mkdir()
    text = (SCRIPTS / "command-wrapper").read_text()
    for old, new in (
        ("/run/atoll/booted", "booted"),
        ("/usr/sbin /usr/bin", "bin"),
        ("/usr/lib/atoll/set-alternative", "bin/set-alternative"),
    ):
        assert old in text
        text = text.replace(old, str(tmp_path / new.split()[0]))
    for name in linked():
        (tmp_path / name).write_text(text)
        (tmp_path / "bin" / name).write_text('#!/bin/sh\necho "real ${0##*/}${*:+ $*}"\n')
    (tmp_path / "bin/set-alternative").write_text('#!/bin/sh\necho "chosen $*"\n')
    for path in (*tmp_path.glob("*"), *tmp_path.glob("bin/*")):
        path.chmod(0o755)
    return tmp_path


def linked() -> list[str]:
    """The names that a machine gets links for."""
    text = (SCRIPTS / "link-command-wrappers").read_text().replace("\\\n", " ")
    (names,) = re.findall(r"^for name in (.*); do$", text, re.MULTILINE)
    return str(names).split()


def run(machine: Path, command: str) -> subprocess.CompletedProcess[str]:
    name, *arguments = shlex.split(command)
    return subprocess.run([machine / name, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("command", "here", "image"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_command_says_what_the_page_says(
    machine: Path, command: str, here: str, image: str
) -> None:
    done = run(machine, command)
    assert done.returncode == 1
    assert done.stdout == ""
    first, *ways = done.stderr.splitlines()
    assert first.startswith(f"{command.split()[0]}: ")
    assert first.endswith(". Nothing was changed.")
    assert ways == [
        "  on this machine  " + here.replace("`", ""),
        "  in the image     " + image.replace("`", ""),
    ]


@pytest.mark.parametrize("command", [row[0] for row in REFUSED])
def test_elsewhere_than_on_a_machine_it_is_the_real_one(machine: Path, command: str) -> None:
    (machine / "booted").unlink()
    done = run(machine, command)
    assert (done.returncode, done.stdout) == (0, f"real {command}\n")


LOOKING = (
    "apt-mark showmanual",
    "apt-mark -o Dir=/x hold y",
    "dpkg --list",
    "dpkg --configure x",
    "dpkg --root=/x --add-architecture i386",
    "dpkg-divert --list",
    "dpkg-divert --truename /x",
    "dpkg-statoverride --list",
    "debconf-set-selections --checkonly",
    "dkms status",
    "dkms --version",
    "depmod -n",
    "depmod -b /x",
    "localedef --list-archive",
    "localedef -i de_DE -f UTF-8 /usr/local/lib/de",
    "update-alternatives --display editor",
    "update-alternatives --query editor",
    "update-alternatives --get-selections",
    "update-alternatives --admindir /x --install a b c 1",
    "update-alternatives --help",
)


@pytest.mark.parametrize("command", LOOKING)
def test_what_only_looks_or_is_for_another_root_is_the_real_one(
    machine: Path, command: str
) -> None:
    done = run(machine, command)
    assert (done.returncode, done.stdout) == (0, f"real {command}\n")


@pytest.mark.parametrize("words", ["--set editor /bin/ed", "--auto editor", "--config editor"])
def test_an_alternative_is_chosen_on_the_machine(machine: Path, words: str) -> None:
    assert run(machine, f"update-alternatives {words}").stdout == f"chosen {words}\n"
    assert run(machine, f"update-alternatives --quiet {words}").stdout == f"chosen {words}\n"


def test_what_is_not_installed_is_not_found_but_has_its_advice(machine: Path) -> None:
    (machine / "bin/update-grub").unlink()
    assert "systemd-boot" in run(machine, "update-grub").stderr
    (machine / "booted").unlink()
    done = run(machine, "update-grub")
    assert (done.returncode, done.stderr) == (127, "update-grub: not found\n")


def test_the_page_has_every_command_that_has_an_advice() -> None:
    works = {
        command.split()[0]
        for commands, *_ in rows("Commands that work")
        for command in re.findall(r"`([^`]+)`", commands)
    }
    refused = {command.split()[0] for command, *_ in REFUSED}
    assert refused <= set(linked()) <= refused | works


def test_the_keys_and_verbs_of_the_page_exist(capsys: pytest.CaptureFixture[str]) -> None:
    keys = set()
    for *_, image in rows("Commands that print a replacement"):
        for section, rest in re.findall(r"\[(\w+)\] ([^\[]*)", image):
            first, *others = rest.partition(" with ")[0].split("`")
            words = [first, *(word for word in others if re.fullmatch(r"\w+", word))]
            keys |= {f"{section}.{word}" for word in words}
    assert {"system.locales", "packages.versions", "boot.title", "kernel.initrd_modules"} <= keys
    for key in sorted(keys):
        assert main(["explain", key]) == 0, key
    capsys.readouterr()
