"""Build kernel modules from source with DKMS, for the image's kernel, reproducibly.

Maintainer scripts build no modules (``/etc/dkms/framework.conf.d/50-atoll-system.conf``); this step
builds all of them. It does not sign them: DKMS would create the signing key during the build, so
the private key would be in every image. If a module does not build, the build fails. Modules of a
base are kept if kernel and sources are the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import PackageError, ProgramFailed
from atoll.builder.steps.kernel import find_kernel
from atoll.host.fs import remove_tree
from atoll.host.in_root import exists_in_root, glob_in_root, in_root, read_text, write_text
from atoll.host.sandbox import Bind, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_STATE = "var/lib/dkms"
_DONE = f"{_STATE}/atoll"
"""Lists the kernel and the sources that this step has built."""

_CONFIGURATION = "etc/dkms/framework.conf.d/zz-atoll-build.conf"
_SETTINGS = """\
sign_file=/nonexistent
compress_gzip_opts="-6n"
compress_xz_opts="--check=crc32 --lzma2=dict=1MiB -6 --threads=1"
compress_zstd_opts="-q --rm --single-thread -3"
"""
_ALLOWED = "/run/atoll/modules"
"""dkms builds only while this path exists."""

_LAST_LINES = 20
"""How many of the last lines of a module's log an error shows."""

_STATUS = re.compile(r"(?P<module>[^,]+), (?P<kernel>[^,]+), [^:,]+: installed")
_WANTED = re.compile(r"""^\s*AUTOINSTALL=["']?y""", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildModules:
    """``epoch`` is SOURCE_DATE_EPOCH, in seconds; the output goes to ``modules.log`` in
    ``logs``."""

    epoch: int
    logs: Path
    title: str = "Building kernel modules"

    def parts(self) -> tuple[str, ...]:
        return ("modules 1", _SETTINGS, str(self.epoch))

    def execute(self, root: Path, workspace: Path) -> None:
        sources = find_sources(root)
        if not sources or not exists_in_root(root, "usr/sbin/dkms"):
            return
        kernel = find_kernel(root)
        done = format_done(kernel, sources)
        if read_text(root, _DONE, missing="") == done:
            return
        remove_package_builds(root, kernel)
        self._build(root, kernel, sources, workspace)
        clean_builds(root)
        write_text(root, _DONE, done)

    def _build(self, root: Path, kernel: str, sources: tuple[str, ...], workspace: Path) -> None:
        """Build with dkms. Raises PackageError unless each module is installed for ``kernel``."""
        sandbox = self._sandbox(root, workspace)
        require_headers(sandbox, kernel)
        configuration = write_text(root, _CONFIGURATION, _SETTINGS)
        self.logs.mkdir(parents=True, exist_ok=True)
        path = self.logs / "modules.log"
        try:
            with path.open("w+b") as log:
                for source in sources:
                    sandbox.run(["dkms", "add", f"/usr/src/{source}"], log=log)
                sandbox.run(["dkms", "autoinstall", "-k", kernel], log=log)
            status = sandbox.run(["dkms", "status"]).decode(errors="replace")
        except ProgramFailed as error:
            output = read_make_logs(root) or error.stderr_tail
            raise _not_built("kernel modules", kernel, output, path) from error
        finally:
            configuration.unlink(missing_ok=True)
        missing = find_missing(status, kernel, [name for name in sources if is_wanted(root, name)])
        if missing:
            output = read_make_logs(root) or path.read_text(errors="replace")
            raise _not_built(" and ".join(missing), kernel, output, path)

    def _sandbox(self, root: Path, workspace: Path) -> Sandbox:
        environment = {
            "DEBIAN_FRONTEND": "noninteractive",
            "SOURCE_DATE_EPOCH": str(self.epoch),
            "KBUILD_BUILD_TIMESTAMP": f"@{self.epoch}",
            "KBUILD_BUILD_USER": "atoll",
            "KBUILD_BUILD_HOST": "atoll",
        }
        allowed = Bind(source=workspace, target=_ALLOWED)
        return Sandbox(root=root, binds=(allowed,), environment=environment)


def find_sources(root: Path) -> tuple[str, ...]:
    """The directories of DKMS modules below /usr/src: ``NAME-VERSION``."""
    folders = glob_in_root(root, "usr/src", "*")
    return tuple(
        path.name for path in folders if not path.is_symlink() and (path / "dkms.conf").is_file()
    )


def is_wanted(root: Path, source: str) -> bool:
    """Whether the module is to be built for every kernel (AUTOINSTALL in dkms.conf)."""
    text = read_text(root, f"usr/src/{source}/dkms.conf")
    return _WANTED.search(text) is not None


def find_missing(status: str, kernel: str, sources: Iterable[str]) -> tuple[str, ...]:
    """The ``sources`` that the output of ``dkms status`` does not list as installed for
    ``kernel``."""
    matches = (_STATUS.match(line) for line in status.splitlines())
    there = {
        found["module"].replace("/", "-", 1)
        for found in matches
        if found and found["kernel"] == kernel
    }
    return tuple(source for source in sources if source not in there)


def format_done(kernel: str, sources: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in (kernel, *sources))


def require_headers(sandbox: Sandbox, kernel: str) -> None:
    try:
        sandbox.run(["test", "-e", f"/lib/modules/{kernel}/build/include"])
    except ProgramFailed as error:
        raise PackageError(
            f"kernel modules cannot be built: no headers for the kernel {kernel} are installed",
            hint="install the headers that go with the kernel, such as linux-headers-amd64 with"
            " linux-image-amd64",
        ) from error


def remove_package_builds(root: Path, kernel: str) -> None:
    """Remove modules that maintainer scripts may have built, and the signing key that they made."""
    for path in glob_in_root(root, _STATE, "*"):
        remove_tree(path)
    remove_tree(in_root(root, f"usr/lib/modules/{kernel}/updates/dkms", follow=False))


def clean_builds(root: Path) -> None:
    """Remove logs, which contain times, and signing keys, which must not be in an image."""
    for path in _below(root, 5):
        if path.name == "log":
            remove_tree(path)
    for path in glob_in_root(root, _STATE, "mok.*"):
        path.unlink()


def read_make_logs(root: Path) -> str:
    """The logs of the compiler for modules that did not build."""
    logs = [path for path in _below(root, 4) if path.parts[-2:] == ("build", "make.log")]
    return "\n".join(path.read_text(errors="replace") for path in logs if path.is_file())


def _below(root: Path, depth: int) -> list[Path]:
    """The paths exactly ``depth`` levels below dkms's state; symbolic links are not followed."""
    found = glob_in_root(root, _STATE, "*")
    for _ in range(depth - 1):
        found = [
            each
            for path in found
            if path.is_dir() and not path.is_symlink()
            for each in sorted(path.iterdir())
        ]
    return [path for path in found if not path.is_symlink()]


def _not_built(what: str, kernel: str, output: str, log: Path) -> PackageError:
    last = "".join(f"\n    {line}" for line in output.splitlines()[-_LAST_LINES:])
    return PackageError(
        f"{what} cannot be built for the kernel {kernel}{last}",
        hint=f"the whole output of dkms is in {log}",
    )
