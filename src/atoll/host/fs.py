"""Durable and safe changes to files: replaced whole or not at all, removed without surprises."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import tempfile
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
    """Give ``path`` this content durably: after a power cut the old or the new file is there."""
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
    """A file that somebody else may have put there, for reading from its start.

    A device, a pipe, a socket, a directory and, without ``follow``, a symbolic link are Damaged:
    opening them could wait for ever, never end, or do something. Other errors are OSError.
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
    """The content of a file that ``open_regular`` opens; Damaged with more than ``limit`` bytes."""
    with open_regular(path, follow=follow) as file, name_errors(path):
        data = read_at_most(file, limit + 1)
    if len(data) > limit:
        raise Damaged(f"{path} is larger than {limit} bytes", hint="look at what it is")
    return data


def read_at_most(file: IO[bytes] | GzipFile, limit: int) -> bytes:
    """Up to ``limit`` bytes, in memory for what is there only.

    ``file.read(limit)`` allocates ``limit`` bytes at once, which a small machine does not have.
    """
    chunks = [file.read(min(limit, os.fstat(file.fileno()).st_size + 1))]
    left = limit - len(chunks[0])
    # A file of the kernel has no size, a compressed one has more in it, and another may grow.
    while left and (chunk := file.read(min(left, _CHUNK))):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


@contextmanager
def name_errors(path: Path) -> Iterator[None]:
    """Add the file's name to an error that has none: a read knows its handle only."""
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
"""Bytes of a file that Atoll wrote itself: the longest is the history of a machine."""


def is_absent(error: OSError) -> bool:
    """Whether ``error`` says that a name is not there. Every other error says nothing of that:
    what cannot be read is there."""
    return error.errno in (errno.ENOENT, errno.ENOTDIR)


def read_if_there(path: Path) -> bytes | None:
    """The content of a file of Atoll's own; None only when it is certain that there is none.
    Raises OSError, or Damaged for what is no file of at most ``OWN_LIMIT`` bytes."""
    try:
        return read_regular(path, limit=OWN_LIMIT)
    except OSError as error:
        if is_absent(error):
            return None
        raise


def names_in(path: Path) -> list[str]:
    """The names in a directory, sorted; none only when it is certain that there is no directory.
    Raises OSError."""
    try:
        return sorted(os.listdir(path))
    except OSError as error:
        if is_absent(error):
            return []
        raise


def make_directory(path: Path, *, mode: int = 0o755) -> None:
    """A directory with this mode, whatever the caller's umask; one that is there keeps its own.

    It never has more than that mode, not even at first. Missing parents get the umask's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=mode & 0o700)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    path.chmod(mode)


def close_to_others(path: Path) -> None:
    """Nobody but its owner may enter the directory ``path``, if it is there and ours to say.

    What an earlier version made had the umask's mode. A file system that is read-only stays so.
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
    """A new file that only its owner may read, from the start; its handle, to write."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def fsync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def displace_stray(path: Path, kind: int) -> None:
    """Rename ``path`` unless it is of ``kind`` (a file type of stat(2)), leads to such, or is not
    there."""
    try:
        found = stat.S_IFMT(path.stat().st_mode)
    except OSError as error:
        if not is_absent(error) and not path.is_symlink():
            return  # what cannot be looked at may be what it should be
        if not os.path.lexists(path):
            return
        found = 0  # a link that leads nowhere
    if found == kind:
        return
    number = 1
    while os.path.lexists(aside := path.with_name(f"{path.name}.displaced-{number}")):
        number += 1
    path.rename(aside)
    fsync_directory(path.parent)


def remove_tree(path: Path) -> None:
    """Remove a directory and all below it, if it is there; never follows a symbolic link."""
    try:
        is_directory = stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError as error:
        if is_absent(error):
            return
        raise
    # Never by rmtree: it opens what it is given, and a pipe waits for somebody who writes.
    if is_directory:
        shutil.rmtree(path)
    else:
        path.unlink()


@contextmanager
def temporary_directory(parent: Path, *, prefix: str) -> Iterator[Path]:
    """A new directory under ``parent``, gone afterwards whatever happens."""
    from pathlib import Path as RealPath

    path = None
    try:
        with signals_deferred():
            path = RealPath(tempfile.mkdtemp(prefix=prefix, dir=parent))
        yield path
    finally:
        with signals_deferred():
            if path is not None:
                remove_tree(path)


@contextmanager
def space_errors(path: Path) -> Iterator[None]:
    """Turn "no space left" below into NoSpace that names the file system's place."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            place = mount_point_of(path)
            found = os.statvfs(place)
            what = "inodes" if found.f_files and not found.f_favail else "space"
            option = "-i" if what == "inodes" else "-h"
            raise NoSpace(
                f"no {what} left on {place}, which holds {path}", hint=f"see: df {option} {place}"
            ) from error
        raise


def mount_point_of(path: Path) -> Path:
    """Where the file system of ``path`` is mounted: it is there also when ``path`` is gone."""
    here = path.absolute()
    while not here.exists():
        here = here.parent
    device = here.stat().st_dev
    while here != here.parent and here.parent.stat().st_dev == device:
        here = here.parent
    return here


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Whatever this process was started with: what it and its children make has these modes."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def locked(path: Path, *, what: str) -> Iterator[None]:
    """Hold the exclusive lock in file ``path``; raises Busy at once when another process does."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(
                f"another operation is running on {what}", hint="wait until it ends, then try again"
            ) from None
        yield
    finally:
        os.close(handle)


def find_near_path(path: Path) -> Path | None:
    """What ``path`` was probably meant to be: the same with its first missing name set right."""
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
    """Raises MissingPrivilege unless this process is root; ``what`` names the work."""
    if os.geteuid() != 0:
        raise MissingPrivilege(f"{what} needs root", hint="try again with sudo")


def digest_file(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    import hashlib  # loads OpenSSL, which `status` can do without

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
