"""apt of this machine, working in a directory of its own: nothing of the machine's apt is used but
its keys, and its settings of how to reach a mirror.

::

    <cache>/apt/<id of the sources>/
      apt.conf                        all of apt's configuration; APT_CONFIG names it
      etc/apt/sources.list.d/atoll.sources, preferences, trusted.gpg.d/
      var/lib/apt/lists/…             Release and Packages files, refreshed when a lock is made
      var/lib/apt/extended_states     which packages count as automatic
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
"""Bytes of a key's file in which its armour begins; vendors write a comment before it."""
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
    """Where apt works, what it may use, and the kinds of machine; the machine's own is first."""

    path: Path
    sources: tuple[AptSource, ...]
    architectures: tuple[str, ...]

    @property
    def lists(self) -> Path:
        return self.path / "var/lib/apt/lists"

    @property
    def local(self) -> Path:
        return self.path / "local"

    @property
    def suite(self) -> str:
        """The word for errors: the first source is the one that the recipe builds from."""
        return self.sources[0].suite if self.sources else "the recipe"

    @property
    def environment(self) -> dict[str, str]:
        """With which apt's programs take this directory for theirs."""
        return os.environ | {"APT_CONFIG": str(self.path / "apt.conf"), "LC_ALL": "C.UTF-8"}

    def run(self, *words: str) -> str:
        """Run one of apt's programs here; what it says on stdout."""
        return run(words, env=self.environment).decode(errors="replace")

    def write_state(self, *, status: str, automatic: str, preferences: str) -> None:
        """What counts as installed, what of it as automatic, and what apt shall prefer."""
        (self.path / "var/lib/dpkg/status").write_text(status)
        (self.path / "var/lib/apt/extended_states").write_text(automatic)
        (self.path / "etc/apt/preferences").write_text(preferences)


def sources_id(sources: Sequence[AptSource], architectures: Sequence[str]) -> str:
    words = ("apt 2", *(repr(source) for source in sources), *architectures)
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:32]


def open_directory(
    sources: tuple[AptSource, ...], architectures: tuple[str, ...], cache: Path
) -> AptDirectory:
    """apt's directory for these sources, with whatever lists it had the last time."""
    require_program("apt-get", package="apt")
    place = (cache / "apt" / sources_id(sources, architectures)).absolute()
    for name in (
        "etc/apt/sources.list.d",
        "etc/apt/preferences.d",
        "var/lib/apt/lists/partial",
        "var/lib/dpkg",
        "var/cache/apt/archives/partial",
    ):
        (place / name).mkdir(parents=True, exist_ok=True)
    apt = AptDirectory(path=place, sources=sources, architectures=architectures)
    _copy_keys(place / "etc/apt/trusted.gpg.d")
    (place / "apt.conf").write_text(format_configuration(place, architectures, read_host_options()))
    own = f"Types: deb\nURIs: file:{apt.local}\nSuites: ./\nTrusted: yes\n"
    listed = "\n".join((format_sources(_with_keys(sources, place / "etc/apt/keyrings")), own))
    (place / "etc/apt/sources.list.d/atoll.sources").write_text(listed)
    apt.write_state(status="", automatic="", preferences="")
    return apt


def _with_keys(sources: Iterable[AptSource], target: Path) -> Iterator[AptSource]:
    """The sources with copies of their keys: apt goes by the suffix, vendors by none."""
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
    """Whether a public key is in its form of letters, which apt wants to be called ``.asc``."""
    return b"-----BEGIN PGP" in key[:_HEAD]


def refresh_lists(apt: AptDirectory) -> None:
    """Fetch the package lists anew; raises NetworkError, PackageError (no such suite, no key)."""
    try:
        apt.run("apt-get", "update", "--quiet")
    except ProgramFailed as error:
        raise explain_failure(error, suite=apt.suite) from error


def format_configuration(
    directory: Path, architectures: Sequence[str], host_options: Sequence[str]
) -> str:
    """All that apt is told, for work in ``directory``."""
    kinds = " ".join(f'"{one}";' for one in architectures)
    native = f'APT::Architecture "{architectures[0]}";\n' if architectures else ""
    return (
        f'Dir "{directory}";\nDir::State::status "{directory}/var/lib/dpkg/status";\n'
        + _FIXED
        + native
        + (f"APT::Architectures {{ {kinds} }};\n" if kinds else "")
        + "".join(f"{line}\n" for line in host_options)
    )


@contextmanager
def written_configuration(place: Path) -> Iterator[Mapping[str, str]]:
    """An environment in which apt's programs know how to reach mirrors, and nothing else."""
    path = place / "apt.conf"
    path.write_text(format_configuration(place, (), read_host_options()))
    try:
        yield os.environ | {"APT_CONFIG": str(path), "LC_ALL": "C.UTF-8"}
    finally:
        path.unlink(missing_ok=True)


def read_host_options() -> tuple[str, ...]:
    """How apt on this machine is told to reach mirrors: ``Name "value";`` lines."""
    return parse_host_options(run(["apt-config", "dump"]).decode(errors="replace"))


def parse_host_options(dump: str) -> tuple[str, ...]:
    """Those lines of ``apt-config dump`` that concern reaching and believing a mirror."""
    return tuple(line for line in dump.splitlines() if _HOST_OPTIONS.fullmatch(line))


def _copy_keys(target: Path) -> None:
    """The keys that this machine's apt believes, and Debian's own where its package is here."""
    remove_tree(target)
    target.mkdir(parents=True)
    said = run(["apt-config", "shell", "parts", "Dir::Etc::trustedparts/d"]).decode()
    parts = Path(said.partition("=")[2].strip().strip("'") or "/etc/apt/trusted.gpg.d")
    found = sorted(path for path in parts.glob("*") if path.suffix in (".gpg", ".asc", ".pgp"))
    debian = next((path for name in _KEYRINGS if (path := Path(name)).exists()), None)
    for number, path in enumerate([*found, *([debian] if debian else [])]):
        # apt reads binary keyrings by this suffix only
        suffix = ".asc" if path.suffix == ".asc" else ".gpg"
        shutil.copyfile(path, target / f"{number:03}{suffix}")
