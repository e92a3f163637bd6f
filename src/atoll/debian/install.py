"""apt and dpkg inside a root, in a sandbox: nothing starts, nothing asks, nothing is left behind.

The packages of the recipe are installed and removed in one transaction, without recommended ones:
what a tree holds is what its recipe names and that needs. apt sees the package lists of ``Sources``
and the cache of downloaded packages through binds, so neither becomes part of the tree.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound, PackageError, ProgramFailed
from atoll.debian.failure import explain_failure
from atoll.debian.inventory import read_names
from atoll.debian.sources import read_host_options
from atoll.host.run import run
from atoll.host.sandbox import Bind, Sandbox

if TYPE_CHECKING:
    from atoll.debian.sources import Sources

_ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    # the initrd is a later step of the build; the kernel packages' hooks obey this
    "INITRD": "No",
    "PYTHONHASHSEED": "0",
}
_APT = (
    "apt-get", "--yes", "--quiet", "--purge", "--no-install-recommends", "--allow-downgrades",
    "-o", "Dpkg::Options::=--force-unsafe-io",
    "-o", "Dpkg::Options::=--force-confdef",
    "-o", "Dpkg::Options::=--force-confold",
    "-o", "Dpkg::Use-Pty=0",
    "-o", "APT::Sandbox::User=root",
    "-o", "APT::Keep-Downloaded-Packages=true",
    "-o", "Acquire::Languages=none",
)  # fmt: skip
_RESOLV_CONF = Path("/etc/resolv.conf")
_STUBS = ("/run/systemd/resolve/stub-resolv.conf", "/run/systemd/resolve/resolv.conf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What to install by name, what from files, and what to remove."""

    install: tuple[str, ...] = ()
    local: tuple[Path, ...] = ()
    remove: tuple[str, ...] = ()


def check_local(path: Path) -> None:
    """Raises NotFound or PackageError unless ``path`` is a Debian package."""
    if not path.is_file():
        raise NotFound(f"{path}: no such package file", hint="check [packages] local in the recipe")
    try:
        run(["dpkg-deb", "--field", path, "Package", "Version"])
    except ProgramFailed as error:
        raise PackageError(f"{path} is not a Debian package: {error.stderr_tail}") from error


def room(root: Path, *binds: Bind) -> Sandbox:
    """The sandbox that maintainer scripts run in: no service starts, names can be resolved."""
    resolver = tuple(
        Bind(source=_RESOLV_CONF.resolve(), target=stub) for stub in _STUBS if _RESOLV_CONF.exists()
    )
    return Sandbox(root=root, binds=(*resolver, *binds), environment=_ENVIRONMENT)


def install_packages(
    root: Path, wishes: Wishes, *, sources: Sources, debs: Path, log_path: Path
) -> None:
    """Do what ``wishes`` says in ``root``; raises NetworkError, NoSpace or PackageError."""
    locals_ = {f"/run/atoll/local/{n}/{path.name}": path for n, path in enumerate(wishes.local)}
    sandbox = room(
        root,
        Bind(source=sources.lists, target="/var/lib/apt/lists", writable=True),
        Bind(source=debs, target="/var/cache/apt/archives", writable=True),
        *(Bind(source=path.resolve(), target=target) for target, path in locals_.items()),
    )
    options = [word for line in read_host_options() for word in ("-o", _as_option(line))]
    words = [*_APT, *options, "install", "--",
             *wishes.install, *locals_, *(f"{name}-" for name in wishes.remove)]  # fmt: skip
    debs.joinpath("partial").mkdir(parents=True, exist_ok=True)
    (root / "run").mkdir(exist_ok=True)
    quiet = [_write_policy(root), _write_resolver(root)]
    with log_path.open("w+b") as log:
        try:
            sandbox.run(words, log=log)
        except ProgramFailed as error:
            raise explain_failure(
                error, suite=sources.archive.suite, log=log_path, known=read_names(sources.lists)
            ) from error
    for path in quiet:
        if path is not None and not path.is_symlink():
            path.unlink(missing_ok=True)


def _write_policy(root: Path) -> Path:
    """Forbid starting services, as invoke-rc.d and deb-systemd-invoke ask."""
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    return policy


def _write_resolver(root: Path) -> Path | None:
    """Let apt resolve names until a package brings a resolver's link of its own."""
    path = root / "etc/resolv.conf"
    if path.is_symlink() or not _RESOLV_CONF.exists():
        return None
    path.write_bytes(_RESOLV_CONF.read_bytes())
    return path


def _as_option(line: str) -> str:
    name, _, value = line.rstrip(";").partition(" ")
    return f"{name}={os.fspath(value).strip(chr(34))}"
