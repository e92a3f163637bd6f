"""Run apt and dpkg inside a root, in a sandbox: no service starts, no question is asked.

The pinned packages are installed from an archive that contains only them. The root's own apt
computes the order, so the same packages give the same root on every machine. The files that apt
needs for this are in the sandbox's /run, so they do not become part of a tree.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound, ProgramFailed
from atoll.debian.apt_errors import explain_failure
from atoll.debian.local_archive import ARCHIVE, write_archive
from atoll.debian.progress import DpkgProgress
from atoll.host.fs import temporary_directory
from atoll.host.in_root import in_root
from atoll.host.poll_progress import polled
from atoll.host.sandbox import Bind, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from atoll.base.report import Reporter
    from atoll.debian.pin import Pin
    from atoll.debian.stanza import Stanza

_ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    # The initrd is made by a later build step; this disables the hooks of kernel packages.
    "INITRD": "No",
    "PYTHONHASHSEED": "0",
}
_APT = (
    "apt-get",
    "--yes",
    "--quiet",
    "-o",
    "APT::Get::Purge=true",
    "-o",
    "APT::Get::Allow-Downgrades=true",
    "-o",
    "APT::Get::Allow-Change-Held-Packages=true",
    "-o",
    "APT::Install-Recommends=false",
    "-o",
    "Dpkg::Options::=--force-unsafe-io",
    "-o",
    "Dpkg::Options::=--force-confdef",
    "-o",
    "Dpkg::Options::=--force-confold",
    "-o",
    "Dpkg::Use-Pty=0",
    "-o",
    "APT::Sandbox::User=root",
    "-o",
    "APT::Install-Suggests=false",
    "-o",
    "Acquire::Languages=none",
    "-o",
    "Dir::Etc::SourceList=/run/atoll/sources.list",
    "-o",
    "Dir::Etc::SourceParts=/run/atoll/none",
    "-o",
    "Dir::Etc::Preferences=/run/atoll/none",
    "-o",
    "Dir::Etc::PreferencesParts=/run/atoll/none",
    "-o",
    "Dir::State::Lists=/run/atoll/lists",
    "-o",
    "Dir::Cache=/run/atoll/cache",
)
_SCRIPT = r"""
printf 'deb [trusted=yes] file:%s ./\n' "$1" >/run/atoll/sources.list
foreign=$2; answers=$3; first=$4; shift 4
mkdir -p /run/atoll/none /run/atoll/lists/partial /run/atoll/cache/archives/partial
for architecture in $foreign; do dpkg --add-architecture "$architecture"; done
"$@" update
if [ -n "$answers" ]; then
    [ -x /usr/bin/debconf-set-selections ] || [ -z "$first" ] || "$@" install -- $first
    [ ! -x /usr/bin/debconf-set-selections ] || debconf-set-selections "$answers"
fi
xargs -x -s 1500000 -d '\n' -a /run/atoll/archive/words "$@" install --
"""
_RESOLV_CONF = Path("/etc/resolv.conf")
_NO_RESOLVER = "# There is no network while packages are installed.\n"
_STUBS = ("/run/systemd/resolve/stub-resolv.conf", "/run/systemd/resolve/resolv.conf")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallBatch:
    """Packages to install together, with their control data. ``debs`` is the directory with files.

    ``debconf`` are answers to set before anything is unpacked. ``remove`` are names of packages to
    remove. ``native`` is the architecture of the root, ``foreign`` are its foreign architectures.
    """

    entries: tuple[tuple[Pin, Stanza], ...]
    debs: Path
    log_path: Path
    native: str
    foreign: tuple[str, ...] = ()
    debconf: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


def package_sandbox(root: Path, *binds: Bind) -> Sandbox:
    """The sandbox for maintainer scripts: no network, and services do not start."""
    return Sandbox(root=root, binds=binds, environment=_ENVIRONMENT)


def resolver_binds(root: Path) -> tuple[Bind, ...]:
    """Binds of the machine's resolv.conf to all paths where a sandbox with network looks for it."""
    if not _RESOLV_CONF.exists():
        return ()
    host_path = _RESOLV_CONF.resolve()
    targets = list(_STUBS)
    guest_path = in_root(root, "etc/resolv.conf", follow=False)
    if not guest_path.is_symlink():
        targets.append(str(_RESOLV_CONF))
    elif "NetworkManager" in str(guest_path.readlink()):
        targets.append("/run/NetworkManager/resolv.conf")
    return tuple(Bind(source=host_path, target=target) for target in targets)


def install_sandbox(root: Path, batch: InstallBatch, archive: Path | None = None) -> Sandbox:
    """A sandbox that sees the cached packages, and the ``archive`` that lists them."""
    binds = [Bind(source=archive.resolve(), target=ARCHIVE)] if archive else []
    debs = Bind(source=batch.debs.resolve(), target=f"{ARCHIVE}/debs")
    return package_sandbox(root, *binds, debs)


def install_batch(root: Path, batch: InstallBatch, reporter: Reporter) -> None:
    """Install and remove packages in ``root``. Raises NoSpace or PackageError."""
    if not in_root(root, "usr/bin/apt-get").exists():
        install_by_dpkg(root, batch)
        return
    progress = DpkgProgress(batch.log_path, len(batch.entries), reporter)
    with temporary_directory(batch.debs, prefix=".new-") as archive:
        write_archive(archive, batch.entries)
        (archive / "words").write_text(
            "".join(f"{argument}\n" for argument in apt_arguments(batch))
        )
        (archive / "answers").write_text("".join(f"{line}\n" for line in batch.debconf))
        sandbox = install_sandbox(root, batch, archive)
        debconf = next(
            (argument for argument in apt_arguments(batch) if argument.startswith("debconf=")), ""
        )
        argv = [
            "sh",
            "-euc",
            _SCRIPT,
            "install",
            ARCHIVE,
            " ".join(batch.foreign),
            f"{ARCHIVE}/answers" if batch.debconf else "",
            debconf,
            *_APT,
            *(() if batch.remove else ("-o", "APT::Get::Remove=false")),
        ]
        batch.log_path.unlink(missing_ok=True)
        with services_disabled(root), polled(progress.update):
            try:
                run_logged(sandbox, argv, batch.log_path)
            except ProgramFailed as error:
                raise explain_failure(error, suite="the lock", log=batch.log_path) from error


def install_by_dpkg(root: Path, batch: InstallBatch) -> None:
    """Install and remove with dpkg alone, for a root without apt; ignores the order of
    Pre-Depends."""
    names = [f"{ARCHIVE}/debs/{pin.sha256}.deb" for pin, _ in batch.entries]
    dpkg = ("dpkg", "--force-depends", "--force-unsafe-io")
    with services_disabled(root):
        try:
            for argv in ([*dpkg, "--install", *names], [*dpkg, "--purge", *batch.remove]):
                if argv[len(dpkg) + 1 :]:
                    run_logged(install_sandbox(root, batch), argv, batch.log_path)
        except ProgramFailed as error:
            raise explain_failure(error, suite="the lock", log=batch.log_path) from error


def apt_arguments(batch: InstallBatch) -> list[str]:
    """``NAME=VERSION`` for each package to install, ``NAME-`` for each to remove."""
    return [
        f"{pin.name}{_suffix(pin.architecture, batch.native)}={pin.version}"
        for pin, _ in batch.entries
    ] + [f"{name}-" for name in batch.remove]


def _suffix(architecture: str, native: str) -> str:
    return "" if architecture in ("all", native) else f":{architecture}"


def run_logged(sandbox: Sandbox, argv: Sequence[str], log_path: Path) -> None:
    """Run a program in ``sandbox``, its output in ``log_path``. Raises ProgramFailed."""
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("w+b") as log:
        sandbox.run(argv, log=log)


@contextmanager
def services_disabled(root: Path) -> Iterator[None]:
    """Keep invoke-rc.d and deb-systemd-invoke from starting services while the block lasts.

    The root also has a resolv.conf meanwhile, for packages whose scripts need one.
    """
    policy = _write_policy(root)
    resolver = _write_resolver(root)
    try:
        yield
    finally:
        for path in (policy, resolver):
            if path is not None and not path.is_symlink():
                path.unlink(missing_ok=True)


def _write_policy(root: Path) -> Path:
    policy = in_root(root, "usr/sbin/policy-rc.d", follow=False)
    policy.parent.mkdir(parents=True, exist_ok=True)
    policy.unlink(missing_ok=True)
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    return policy


def _write_resolver(root: Path) -> Path | None:
    """Write a resolv.conf without name servers, unless a package installed a link there."""
    path = in_root(root, "etc/resolv.conf", follow=False)
    if path.is_symlink() or not path.parent.is_dir():
        return None
    path.write_text(_NO_RESOLVER)
    return path


def check_local(path: Path) -> None:
    """Raise NotFound unless ``path`` is a file."""
    if not path.is_file():
        raise NotFound(f"{path}: no such package file", hint="check [packages] local in the recipe")
