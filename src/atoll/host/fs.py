"""Safe file operations: atomic and durable replacement, bounded reads, removal, locks."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import tempfile
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from atoll.base.errors import Busy, Damaged, MissingPrivilege, NoSpace
from atoll.host.signals import signals_deferred

if TYPE_CHECKING:
    from collections.abc import Iterator
    from gzip import GzipFile
    from pathlib import Path

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


_CHUNK = 1 << 20


def replace_file(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace ``path`` atomically and durably: after a power cut the old or the new file is there.

    Writes a temporary file in the same directory, syncs it, renames it, and syncs the directory.
    Raises NoSpace or OSError.
    """
    with space_errors(path), signals_deferred():
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), mode)
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        fsync_directory(path.parent)


def open_regular(path: Path, *, follow: bool = False) -> IO[bytes]:
    """Open a regular file, which somebody else may have created, for reading.

    Raises Damaged for a device, pipe, socket or directory and, unless ``follow``, for a symbolic
    link: opening or reading those could block, never end, or have side effects. Checked before the
    open, to not open a device, and again on the handle, against a race. Other errors are OSError.
    """
    _check_regular(path, os.stat(path, follow_symlinks=follow))
    extra = 0 if follow else os.O_NOFOLLOW
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | extra)
    try:
        _check_regular(path, os.fstat(handle))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path, *, limit: int, follow: bool = False) -> bytes:
    """Read a file through ``open_regular``; raises Damaged if it has more than ``limit`` bytes."""
    with open_regular(path, follow=follow) as file, name_errors(path):
        data = read_at_most(file, limit + 1)
    if len(data) > limit:
        raise Damaged(f"{path} is larger than {limit} bytes", hint="look at what it is")
    return data


def read_at_most(file: IO[bytes] | GzipFile, limit: int) -> bytes:
    """Read up to ``limit`` bytes; memory use depends on the content, not on ``limit``.

    ``file.read(limit)`` would allocate ``limit`` bytes at once, too much for a small machine.
    """
    chunks = [file.read(min(limit, os.fstat(file.fileno()).st_size + 1))]
    left = limit - len(chunks[0])
    # The size is only a guess: files in /proc report 0, a gzip file has the compressed size, and
    # a file may grow.
    while left and (chunk := file.read(min(left, _CHUNK))):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


@contextmanager
def name_errors(path: Path) -> Iterator[None]:
    """Add ``path`` to OSErrors without a file name, as reads from a handle raise them."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _check_regular(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        raise Damaged(f"{path} is {kind}, not a regular file", hint="look at what it is")


OWN_LIMIT = 64 << 20
"""Limit in bytes for files that Atoll itself writes; the longest is a machine's history."""


def is_absent(error: OSError) -> bool:
    """Whether ``error`` proves that the file does not exist. An unreadable file is not absent."""
    return error.errno in (errno.ENOENT, errno.ENOTDIR)


def read_if_there(path: Path) -> bytes | None:
    """Read a file that Atoll itself writes; None only if it certainly does not exist.

    Raises OSError, or Damaged if it is not a regular file of at most ``OWN_LIMIT`` bytes.
    """
    try:
        return read_regular(path, limit=OWN_LIMIT)
    except OSError as error:
        if is_absent(error):
            return None
        raise


def list_names(path: Path) -> list[str]:
    """The names in a directory, sorted; empty if the directory certainly does not exist.

    Raises OSError.
    """
    try:
        return sorted(os.listdir(path))
    except OSError as error:
        if is_absent(error):
            return []
        raise


def make_directory(path: Path, *, mode: int = 0o755) -> None:
    """Create a directory with exactly ``mode``, whatever the umask; an existing one keeps its mode.

    The directory never has more permissions than ``mode``, not even for a moment. Missing parents
    are created with the default mode.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=mode & 0o700)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    path.chmod(mode)


def restrict_to_owner(path: Path) -> None:
    """Remove all permissions of group and others from the directory ``path``, if it exists.

    Earlier versions created it with the default mode. Does nothing if the directory belongs to
    another user or the file system is read-only.
    """
    try:
        found = os.lstat(path)
        if stat.S_ISDIR(found.st_mode) and found.st_mode & 0o077:
            os.chmod(path, found.st_mode & 0o700)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EACCES, errno.EROFS):
            raise


def create_private(path: Path) -> int:
    """Create a file with mode 0600; returns its descriptor. Raises FileExistsError."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def fsync_directory(path: Path) -> None:
    """Make names that were created, renamed or removed in a directory durable. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def displace_stray(path: Path, kind: int) -> None:
    """Rename ``path`` if it exists but does not have the file type ``kind`` (an S_IF constant).

    A symbolic link counts as its target; a dangling one is renamed. The new name is
    ``NAME.displaced-N`` in the same directory.
    """
    try:
        found = stat.S_IFMT(path.stat().st_mode)
    except OSError as error:
        if not is_absent(error) and not path.is_symlink():
            return  # it cannot be examined, so it may be of the right type
        if not os.path.lexists(path):
            return
        found = 0  # a dangling link
    if found == kind:
        return
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.displaced-{number}")):
        number += 1
    path.rename(aside)
    fsync_directory(path.parent)


def remove_tree(path: Path) -> None:
    """Remove a file or a directory with its contents, if it exists; never follows a link."""
    try:
        is_directory = stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError as error:
        if is_absent(error):
            return
        raise
    # rmtree only for directories: it opens its argument, and opening a pipe blocks.
    if is_directory:
        shutil.rmtree(path)
    else:
        path.unlink()


@contextmanager
def temporary_directory(parent: Path, *, prefix: str) -> Iterator[Path]:
    """Create a directory in ``parent`` and remove it at the end of the block."""
    from pathlib import Path as RealPath

    path = None
    try:
        with signals_deferred():
            # Before Python 3.12 it is relative where the parent is; mount(8) runs elsewhere.
            path = RealPath(tempfile.mkdtemp(prefix=prefix, dir=parent)).absolute()
        yield path
    finally:
        with signals_deferred():
            if path is not None:
                remove_tree(path)


@contextmanager
def space_errors(path: Path) -> Iterator[None]:
    """Turn ENOSPC and EDQUOT into NoSpace, which names the mount point of ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            mount_point = mount_point_of(path)
            found = os.statvfs(mount_point)
            what = "inodes" if found.f_files and not found.f_favail else "space"
            option = "-i" if what == "inodes" else "-h"
            raise NoSpace(
                f"no {what} left on {mount_point}, which holds {path}",
                hint=f"see: df {option} {mount_point}",
            ) from error
        raise


def mount_point_of(path: Path) -> Path:
    """The mount point of the file system that ``path`` is on; ``path`` need not exist."""
    here = path.absolute()
    while not here.exists():
        here = here.parent
    device = here.stat().st_dev
    while here != here.parent and here.parent.stat().st_dev == device:
        here = here.parent
    return here


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Set the umask of this process and its children inside the block."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


_LOCK_PAUSE = 0.05


def take_lock(handle: int, kind: int, *, seconds: float) -> bool:
    """Take a flock(2) of ``kind`` on an open file; False if others still have it after ``seconds``.

    It polls: a blocking flock would wait without a limit. Raises OSError.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOCK_PAUSE)
        else:
            return True


@contextmanager
def locked(path: Path, *, what: str) -> Iterator[None]:
    """Hold an exclusive flock(2) on the file ``path``; raises Busy at once if it is taken.

    ``what`` names the locked thing in the message.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not take_lock(handle, fcntl.LOCK_EX, seconds=0):
            raise Busy(
                f"another operation is running on {what}", hint="wait until it ends, then try again"
            )
        yield
    finally:
        os.close(handle)


def find_near_path(path: Path) -> Path | None:
    """An existing path that ``path`` probably meant: its first missing part is corrected."""
    from atoll.base.suggest import find_nearest

    missing = next((each for each in (*reversed(path.parents), path) if not each.exists()), None)
    if missing is None:
        return None
    try:
        near = find_nearest(missing.name, sorted(os.listdir(missing.parent)))
    except OSError:
        return None
    found = missing.parent / near[0] / path.relative_to(missing) if near else None
    return found if found is not None and found.exists() else None


def require_root(what: str) -> None:
    """Raises MissingPrivilege unless this process is root; ``what`` names the operation."""
    if os.geteuid() != 0:
        raise MissingPrivilege(f"{what} needs root", hint="try again with sudo")


def digest_file(path: Path) -> str:
    """SHA-256 of a file, as hex digits."""
    import hashlib  # loads OpenSSL, which `status` does not need

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
