"""The first root: the smallest Debian that can install more, made by mmdebstrap and kept.

::

    <cache>/roots/<id>/       a root directory; never changed once it has this name
    <cache>/debs/*.deb        every package ever downloaded, so that nothing is fetched twice
"""

from __future__ import annotations

import hashlib
import os
import shlex
from typing import TYPE_CHECKING

from atoll.base.errors import ProgramFailed
from atoll.debian.failure import explain_failure
from atoll.debian.sources import read_host_options
from atoll.host.files import temporary_directory
from atoll.host.run import need_program, run

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.debian.sources import Sources

_FORM = "root 2"
"""Changes when this module makes another root from the same packages."""

_OF_THE_BUILDER = ("etc/resolv.conf", "etc/hostname", "etc/apt/apt.conf.d/99mmdebstrap",
                   "etc/dpkg/dpkg.cfg.d/99mmdebstrap")  # fmt: skip
"""What mmdebstrap copies in from the machine that builds."""


def root_id(sources: Sources) -> str:
    words = (_FORM, sources.archive.id(), sources.digest)
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:32]


def ensure_root(sources: Sources, cache: Path) -> Path:
    """The first root for these sources, made when it is not there yet."""
    root = cache / "roots" / root_id(sources)
    if not root.exists():
        root.parent.mkdir(parents=True, exist_ok=True)
        with temporary_directory(root.parent, prefix=".new-") as temporary:
            made = temporary / "root"
            _bootstrap(sources, made, cache)
            run(["sync", "--file-system", made])
            made.rename(root)
    return root


def _bootstrap(sources: Sources, made: Path, cache: Path) -> None:
    need_program("mmdebstrap", package="mmdebstrap")
    debs = cache / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    reuse = (f'mkdir -p "$1/var/cache/apt/archives"; find {shlex.quote(os.fspath(debs))}'
             ' -name "*.deb" -exec cp --link -t "$1/var/cache/apt/archives" {} +')  # fmt: skip
    log_path = made.parent.parent / f"{made.parent.name.strip('.')}.log"
    words: list[str | Path] = [
             "mmdebstrap", "--mode=root", "--variant=apt", f"--setup-hook={reuse}",
             "--skip=download/empty,essential/unlink,cleanup/apt/cache,cleanup/reproducible",
             "--dpkgopt=force-unsafe-io",
             *(f"--aptopt={line.rstrip(';')}" for line in read_host_options()),
             f"--architectures={sources.archive.architecture}",
             sources.archive.suite, made, sources.list_file]  # fmt: skip
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(sources.epoch)}
    with log_path.open("w+b") as log:
        try:
            run(words, env=environment, log=log)
        except ProgramFailed as error:
            raise explain_failure(error, suite=sources.archive.suite, log=log_path) from error
    log_path.unlink()
    keep_debs(made / "var/cache/apt/archives", debs)
    for name in _OF_THE_BUILDER:
        (made / name).unlink(missing_ok=True)


def keep_debs(archives: Path, debs: Path) -> None:
    """Move downloaded packages into the cache."""
    for deb in archives.glob("*.deb"):
        deb.replace(debs / deb.name)
