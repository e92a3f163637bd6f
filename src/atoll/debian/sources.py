"""What a suite offers today: apt's sources and package lists, kept in a directory of their own.

::

    <cache>/apt/<id of the archive>/
      etc/apt/sources.list         as mmdebstrap chooses it for the suite, or from the given mirror
      var/lib/apt/lists/…          Release and Packages files, refreshed by every build
      var/lib/dpkg/{arch,status}   empty: nothing is installed here

No mirror is named in this code: without one in the recipe, mmdebstrap decides.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, ProgramFailed
from atoll.debian.failure import explain_failure
from atoll.host.files import remove_tree, temporary_directory
from atoll.host.run import need_program, run

if TYPE_CHECKING:
    from pathlib import Path

_HOST_OPTIONS = re.compile(
    r"Acquire::(Check-Valid-Until|Retries|(?:http|https|ftp)::(?:Proxy|Timeout)(?:::[\w.-]+)?)"
    r' "([^"]*)";'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Which packages: a suite, its components, the machine's kind, and where from."""

    suite: str
    components: tuple[str, ...]
    architecture: str
    mirror: str | None = None

    def id(self) -> str:
        words = ("apt 1", self.suite, *self.components, self.architecture, self.mirror or "")
        return hashlib.sha256("\0".join(words).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """An archive as it is now. ``epoch`` is the date of its newest Release file.

    ``digest`` covers every package list, so the same digest offers the same packages.
    """

    archive: Archive
    directory: Path
    epoch: int
    digest: str

    @property
    def list_file(self) -> Path:
        return self.directory / "etc/apt/sources.list"

    @property
    def lists(self) -> Path:
        return self.directory / "var/lib/apt/lists"


def read_architecture() -> str:
    """What Debian calls this machine's kind of processor (``amd64``)."""
    need_program("dpkg", package="dpkg")
    return run(["dpkg", "--print-architecture"]).decode().strip()


def read_host_options() -> tuple[str, ...]:
    """How apt on this machine is told to reach mirrors: ``Name "value";`` lines."""
    return parse_host_options(run(["apt-config", "dump"]).decode(errors="replace"))


def parse_host_options(dump: str) -> tuple[str, ...]:
    """Those lines of ``apt-config dump`` that concern reaching and believing a mirror."""
    return tuple(line for line in dump.splitlines() if _HOST_OPTIONS.fullmatch(line))


def refresh_sources(archive: Archive, cache: Path) -> Sources:
    """Fetch the package lists anew; raises NetworkError, PackageError (no such suite)."""
    directory = cache / "apt" / archive.id()
    try:
        if directory.exists():
            _update(archive, directory)
        else:
            _create(archive, directory)
    except ProgramFailed as error:
        raise explain_failure(error, suite=archive.suite) from error
    lists = directory / "var/lib/apt/lists"
    return Sources(
        archive=archive, directory=directory, epoch=read_epoch(lists), digest=digest_of_lists(lists)
    )


def read_epoch(lists: Path) -> int:
    """The date of the newest Release file, in seconds."""
    names = [*lists.glob("*InRelease"), *lists.glob("*_Release")]
    return max(parse_release_date(name.read_text(errors="replace")) for name in names)


def parse_release_date(text: str) -> int:
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name == "Date":
            try:
                return int(parsedate_to_datetime(value.strip()).astimezone(UTC).timestamp())
            except ValueError as error:
                raise Damaged(f"a Release file has the date {value.strip()!r}") from error
    raise Damaged("a Release file has no date")


def digest_of_lists(lists: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(lists.glob("*_Packages")):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.name} {content}\n".encode())
    return total.hexdigest()


def _create(archive: Archive, directory: Path) -> None:
    """mmdebstrap sets up apt for the suite, and stops before it installs anything."""
    need_program("mmdebstrap", package="mmdebstrap")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with temporary_directory(directory.parent, prefix=".new-") as temporary:
        made = temporary / "root"
        options = [f"--aptopt={line.rstrip(';')}" for line in read_host_options()]
        run(["mmdebstrap", "--mode=root", "--variant=custom", *options,
             "--skip=cleanup/apt/lists",
             f"--components={','.join(archive.components)}",
             f"--architectures={archive.architecture}",
             archive.suite, made, *([archive.mirror] if archive.mirror else [])])  # fmt: skip
        for name in ("dev", "tmp"):
            remove_tree(made / name)
        made.rename(directory)


def _update(archive: Archive, directory: Path) -> None:
    """The machine's own apt, with its own settings and keys, working in ``directory``."""
    run(["apt-get", "update", "--quiet",
         "-o", f"Dir={directory}",
         "-o", "Dir::Etc::trusted=/etc/apt/trusted.gpg",
         "-o", "Dir::Etc::trustedparts=/etc/apt/trusted.gpg.d",
         "-o", f"Dir::State::status={directory}/var/lib/dpkg/status",
         "-o", f"APT::Architecture={archive.architecture}",
         "-o", f"APT::Architectures={archive.architecture}",
         "-o", "APT::Sandbox::User=root",
         "-o", "APT::Update::Error-Mode=any",
         "-o", "Acquire::Languages=none",
         "-o", "Dir::Log=/dev/null"])  # fmt: skip
