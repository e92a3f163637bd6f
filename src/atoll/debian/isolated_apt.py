"""Run this machine's apt in a directory of its own.

Of the machine's configuration it uses only the trusted keys, and the options for reaching mirrors.

::

    <cache>/apt/<id of the sources>/
      apt.conf                        all of apt's configuration; APT_CONFIG names it
      etc/apt/sources.list.d/atoll.sources, preferences, trusted.gpg.d/
      var/lib/apt/lists/…             Release and Packages files, refreshed when a lock is made
      var/lib/apt/extended_states     which packages are automatically installed
      var/lib/dpkg/status             the packages that count as installed
      local/                          an archive of the recipe's own .deb files
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import ProgramFailed
from atoll.debian.apt_errors import explain_failure
from atoll.debian.local_archive import write_flat_archive
from atoll.debian.sources import AptSource, format_sources
from atoll.host.fs import remove_tree
from atoll.host.run import require_program, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_HOST_OPTIONS = re.compile(
    r"Acquire::(Check-Valid-Until|Retries|(?:http|https|ftp)::(?:Proxy|Timeout)(?:::[\w.-]+)?)"
    r' "([^"]*)";'
)
_KEYRINGS = (
    "/usr/share/keyrings/debian-archive-keyring.pgp",
    "/usr/share/keyrings/debian-archive-keyring.gpg",
)
_HEAD = 4096
"""Bytes in which the armour of a key must begin; some vendors write a comment before it."""
_FIXED = """\
Dir::Etc::parts "/dev/null";
Dir::Log "/dev/null";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::GzipIndexes "false";
Acquire::PDiffs "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class AptDirectory:
    """apt's directory, its sources, and the architectures; the native one is first."""

    path: Path
    sources: tuple[AptSource, ...]
    architectures: tuple[str, ...]

    @property
    def lists(self) -> Path:
        """The package lists of the last refresh."""
        return self.path / "var/lib/apt/lists"

    @property
    def local(self) -> Path:
        """An archive of the recipe's own .deb files."""
        return self.path / "local"

    @property
    def suite(self) -> str:
        """The suite to name in errors: the first source is that of the recipe's base."""
        return self.sources[0].suite if self.sources else "the recipe"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that make apt's programs use this directory."""
        return os.environ | {"APT_CONFIG": str(self.path / "apt.conf"), "LC_ALL": "C.UTF-8"}

    def run(self, *argv: str) -> str:
        """Run one of apt's programs in this directory; returns its stdout."""
        return run(argv, env=self.environment).decode(errors="replace")

    def write_state(self, *, status: str, automatic: str, preferences: str) -> None:
        """Write dpkg's status, apt's extended_states, and apt_preferences(5)."""
        (self.path / "var/lib/dpkg/status").write_text(status)
        (self.path / "var/lib/apt/extended_states").write_text(automatic)
        (self.path / "etc/apt/preferences").write_text(preferences)


def sources_id(sources: Sequence[AptSource], architectures: Sequence[str]) -> str:
    """The id of a directory for these sources and architectures."""
    parts = ("apt 2", *(repr(source) for source in sources), *architectures)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def open_directory(
    sources: tuple[AptSource, ...], architectures: tuple[str, ...], cache: Path
) -> AptDirectory:
    """Open apt's directory for these sources, with the lists of its last refresh, if any.

    Raises MissingProgram.
    """
    require_program("apt-get", package="apt")
    directory = (cache / "apt" / sources_id(sources, architectures)).absolute()
    for name in (
        "etc/apt/sources.list.d",
        "etc/apt/preferences.d",
        "var/lib/apt/lists/partial",
        "var/lib/dpkg",
        "var/cache/apt/archives/partial",
    ):
        (directory / name).mkdir(parents=True, exist_ok=True)
    apt = AptDirectory(path=directory, sources=sources, architectures=architectures)
    _copy_keys(directory / "etc/apt/trusted.gpg.d")
    (directory / "apt.conf").write_text(
        format_configuration(directory, architectures, read_host_options())
    )
    local_source = f"Types: deb\nURIs: file:{apt.local}\nSuites: ./\nTrusted: yes\n"
    content = "\n".join(
        (format_sources(_with_keys(sources, directory / "etc/apt/keyrings")), local_source)
    )
    (directory / "etc/apt/sources.list.d/atoll.sources").write_text(content)
    apt.write_state(status="", automatic="", preferences="")
    return apt


def _with_keys(sources: Iterable[AptSource], target: Path) -> Iterator[AptSource]:
    """The sources with copies of their keys, named with the suffix that apt needs for each."""
    remove_tree(target)
    target.mkdir(parents=True)
    for number, source in enumerate(sources):
        if source.key is None:
            yield source
            continue
        content = source.key.read_bytes()
        suffix = "asc" if is_armoured(content) else "gpg"
        key = target / f"{number:03}.{suffix}"
        key.write_bytes(content)
        yield replace(source, key=key)


def is_armoured(key: bytes) -> bool:
    """Whether a public key is ASCII-armoured, which apt requires to be named ``.asc``."""
    return b"-----BEGIN PGP" in key[:_HEAD]


def refresh_lists(apt: AptDirectory) -> None:
    """Download the package lists. Raises NetworkError, PackageError (no such suite, no key)."""
    if not (apt.local / "Packages").exists():
        # The sources name it, also where the recipe has no files of its own.
        apt.local.mkdir(exist_ok=True)
        write_flat_archive(apt.local, "")
    try:
        apt.run("apt-get", "update", "--quiet")
    except ProgramFailed as error:
        raise explain_failure(error, suite=apt.suite) from error


def format_configuration(
    directory: Path, architectures: Sequence[str], host_options: Sequence[str]
) -> str:
    """The text of apt.conf for an isolated ``directory``."""
    quoted = " ".join(f'"{one}";' for one in architectures)
    native = f'APT::Architecture "{architectures[0]}";\n' if architectures else ""
    return (
        f'Dir "{directory}";\nDir::State::status "{directory}/var/lib/dpkg/status";\n'
        + _FIXED
        + native
        + (f"APT::Architectures {{ {quoted} }};\n" if quoted else "")
        + "".join(f"{line}\n" for line in host_options)
    )


@contextmanager
def written_configuration(directory: Path) -> Iterator[Mapping[str, str]]:
    """An environment for apt's programs with the options for mirrors and nothing else."""
    path = directory / "apt.conf"
    path.write_text(format_configuration(directory, (), read_host_options()))
    try:
        yield os.environ | {"APT_CONFIG": str(path), "LC_ALL": "C.UTF-8"}
    finally:
        path.unlink(missing_ok=True)


def read_host_options() -> tuple[str, ...]:
    """This machine's apt options for reaching mirrors, as ``Name "value";`` lines."""
    return parse_host_options(run(["apt-config", "dump"]).decode(errors="replace"))


def parse_host_options(dump: str) -> tuple[str, ...]:
    """The lines of ``apt-config dump`` about reaching mirrors: proxies, time limits, retries."""
    return tuple(line for line in dump.splitlines() if _HOST_OPTIONS.fullmatch(line))


def _copy_keys(target: Path) -> None:
    """Copy the keys that this machine's apt trusts, and Debian's own if they are installed."""
    remove_tree(target)
    target.mkdir(parents=True)
    output = run(["apt-config", "shell", "parts", "Dir::Etc::trustedparts/d"]).decode()
    parts = Path(output.partition("=")[2].strip().strip("'") or "/etc/apt/trusted.gpg.d")
    found = sorted(path for path in parts.glob("*") if path.suffix in (".gpg", ".asc", ".pgp"))
    debian = next((path for name in _KEYRINGS if (path := Path(name)).exists()), None)
    for number, path in enumerate([*found, *([debian] if debian else [])]):
        # apt recognizes binary keyrings by this suffix only.
        suffix = ".asc" if path.suffix == ".asc" else ".gpg"
        shutil.copyfile(path, target / f"{number:03}{suffix}")
