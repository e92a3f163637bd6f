"""Debian's own commands on a machine: real programs, a read-only /usr and package database."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.programs.small_root import ensure_small_root, laid_over

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.network]

SCRIPTS = Path(__file__).parents[2] / "system/usr/lib/atoll"
HOOK = "etc/dpkg/dpkg.cfg.d/atoll-system"
MACHINE = """
for place in usr var/lib/dpkg var/cache/debconf var/lib/pam var/lib/apache2; do
    mount --bind "$1/$place" "$1/$place"
    mount -o remount,bind,ro "$1/$place"
done
mount -t tmpfs none "$1/usr/local"
chroot "$1" /usr/lib/atoll/link-command-wrappers
chroot "$1" /usr/bin/env -i LC_ALL=C.UTF-8 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin /bin/sh -uc "$2"
"""

ENABLE = """#!/bin/sh -eu
ln -s "../$1" "/etc/$1.enabled"
rm /var/lib/apache2/old
mkdir -p /var/lib/apache2/enabled_by_admin
touch "/var/lib/apache2/enabled_by_admin/$1"
exit "$2"
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A machine, when it is started by `on_machine`; two alternatives come with its image."""
    with laid_over(ensure_small_root(), tmp_path / "overlay") as root:
        (root / "usr/lib/atoll").mkdir()
        for path in SCRIPTS.iterdir():
            shutil.copy(path, root / "usr/lib/atoll" / path.name)
        # As debian/atoll-system.links has it.
        (root / "usr/lib/atoll/instead").symlink_to("command-wrapper")
        shutil.copy(SCRIPTS.parents[2] / HOOK, root / HOOK)
        script = """
            cd /usr/bin; cp true one; cp true two; cp true two-x; touch /usr/share/one.1
            update-alternatives --install /usr/bin/tool tool /usr/bin/one 10 \
                --slave /usr/share/man/man1/tool.1 tool.1 /usr/share/one.1
            update-alternatives --install /usr/bin/tool tool /usr/bin/two 5 \
                --slave /usr/bin/toolx toolx /usr/bin/two-x
        """
        subprocess.run(["chroot", root, "sh", "-euc", script], check=True, capture_output=True)
        (root / "var/lib/apache2").mkdir()
        (root / "var/lib/apache2/old").touch()
        enable = root / "usr/sbin/a2enmod"
        enable.write_text(ENABLE)
        enable.chmod(0o755)
        (root / "run/atoll").mkdir(parents=True, exist_ok=True)
        (root / "run/atoll/booted").touch()
        shutil.copytree(root / "etc", root / "run/atoll/tree-etc", symlinks=True)
        yield root


def on_machine(root: Path, script: str) -> subprocess.CompletedProcess[str]:
    words = ["unshare", "--mount", "sh", "-euc", MACHINE, "sh", str(root), script]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def seen(root: Path) -> dict[str, bytes]:
    """The contents of /etc: what a command could change."""
    return {str(path): path.read_bytes() for path in (root / "etc").rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("command", "way"),
    [
        ("dpkg-reconfigure tzdata", "timedatectl set-timezone"),
        ("dpkg-reconfigure -f noninteractive locales", "[system] locale"),
        ("locale-gen", "[system] locale"),
        ("localedef -i de_DE -f UTF-8 de_DE.UTF-8", "[system] locale"),
        ("pam-auth-update --package", "/etc/pam.d/common-*"),
        ("dpkg-divert --rename --add /usr/bin/tool", "/usr/local/bin"),
        ("dpkg-statoverride --update --add root root 755 /usr/bin/true", "[[script]]"),
        ("dpkg --add-architecture i386", "[debian] architectures"),
        ("apt-mark hold tzdata", "[packages]"),
        ("echo tzdata tzdata/Areas select Europe | debconf-set-selections", "[packages] debconf"),
        ("update-alternatives --install /usr/bin/tool tool /bin/ls 3", "/usr/local/bin"),
        ("update-initramfs -u", "[kernel] initrd_modules"),
    ],
)
def test_a_command_that_cannot_work_names_the_way_and_does_nothing(
    root: Path, command: str, way: str
) -> None:
    before = seen(root)
    done = on_machine(root, command)
    assert done.returncode == 1, done.stderr
    assert way in done.stderr
    assert "Read-only" not in done.stderr
    assert done.stdout == ""
    assert seen(root) == before


@pytest.mark.parametrize("words", ["--configure -a", "--install /x.deb", "--purge tzdata"])
def test_dpkg_itself_names_the_way(root: Path, words: str) -> None:
    done = on_machine(root, f"dpkg {words}")
    assert done.returncode not in (0, 70)
    assert "atoll add NAME" in done.stderr
    assert "Read-only" not in done.stderr


def test_what_looks_works(root: Path) -> None:
    done = on_machine(
        root,
        "set -e; dpkg -l tzdata; apt-mark showmanual; dpkg-divert --list; dpkg-statoverride --list"
        " || true; update-alternatives --display tool; update-alternatives --list tool",
    )
    assert done.returncode == 0, done.stderr
    assert "/usr/bin/two" in done.stdout


def test_an_alternative_is_switched_by_its_links_in_etc(root: Path) -> None:
    links = root / "etc/alternatives"
    done = on_machine(root, "update-alternatives --set tool /usr/bin/two")
    assert done.returncode == 0, done.stderr
    assert "atoll etc reset /etc/alternatives/tool" in done.stdout
    assert (links / "tool").readlink() == Path("/usr/bin/two")
    assert (links / "toolx").readlink() == Path("/usr/bin/two-x")
    assert not (links / "tool.1").is_symlink()
    # /usr has no link for what only the second has
    assert "no link /usr/bin/toolx" in done.stderr
    done = on_machine(root, "update-alternatives --query tool; update-alternatives --auto tool")
    assert done.returncode == 0, done.stderr
    assert "Value: /usr/bin/two" in done.stdout
    assert (links / "tool").readlink() == Path("/usr/bin/one")
    assert (links / "tool.1").readlink() == Path("/usr/share/one.1")
    done = on_machine(root, "echo 2 | update-alternatives --config tool")
    assert "* 1  /usr/bin/one" in done.stdout
    assert (links / "tool").readlink() == Path("/usr/bin/two")
    assert [path.name for path in links.glob("*.dpkg-tmp")] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--set tool /usr/bin/three", "no alternative /usr/bin/three for tool"),
        ("--set tool", "needs a NAME and a PATH"),
        ("--auto nothing", "no alternatives for nothing"),
        ("--config tool < /etc/hostname", "is not a number of the list"),
    ],
)
def test_what_is_no_alternative_changes_nothing(root: Path, words: str, message: str) -> None:
    (root / "etc/hostname").write_text("reef\n")
    done = on_machine(root, f"update-alternatives {words}")
    assert done.returncode == 2
    assert message in done.stderr
    assert (root / "etc/alternatives/tool").readlink() == Path("/usr/bin/one")


def test_a_choice_that_a_newer_image_lacks_becomes_the_image_s(root: Path) -> None:
    links = root / "etc/alternatives"
    for name, target in (("tool", "/usr/bin/gone"), ("awk", "/usr/local/bin/later")):
        (links / name).unlink()
        (links / name).symlink_to(target)
    assert on_machine(root, "/usr/lib/atoll/refresh-caches").returncode == 0
    assert (links / "tool").readlink() == Path("/usr/bin/one")
    assert (links / "awk").readlink() == Path("/usr/local/bin/later")


@pytest.mark.parametrize("code", [0, 3])
def test_what_notes_beside_etc_what_it_did_there_works(root: Path, code: int) -> None:
    """As a2enmod and phpenmod do: the notes are for scripts of packages, and none runs here."""
    done = on_machine(root, f"a2enmod rewrite {code}; echo $?; ls /run/atoll/copy")
    assert (done.stdout, done.stderr) == (f"{code}\n", "")
    assert (root / "etc/rewrite.enabled").is_symlink()
    assert [path.name for path in (root / "var/lib/apache2").iterdir()] == ["old"]


def test_a_program_of_the_machine_s_own_stays_before_atoll_s(root: Path) -> None:
    done = on_machine(
        root,
        "ln -sf /usr/bin/true /usr/local/sbin/locale-gen; /usr/lib/atoll/link-command-wrappers;"
        " locale-gen",
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("options", ["--simulate", "-s", "--print-uris"])
def test_apt_may_say_what_it_would_do(root: Path, options: str) -> None:
    """Atoll itself asks it so, to resolve what is added to a machine."""
    shutil.copy(SCRIPTS.parents[1] / "sbin/apt-get", root / "usr/sbin/apt-get")
    done = on_machine(root, f"apt-get {options} --yes install base-files")
    assert done.returncode == 0, done.stderr
    refused = on_machine(root, "apt-get --yes install base-files")
    assert refused.returncode == 1 and "atoll add NAME" in refused.stderr
