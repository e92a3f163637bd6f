"""Read the control data of a .deb file (deb(5)) without dpkg.

::

    "!<arch>\\n", then members: 60 bytes of header, content, padding to an even length
      debian-binary       "2.0\\n"
      control.tar[.gz|.xz|.zst]      ./control among others
      data.tar…           not read
"""

from __future__ import annotations

import io
import tarfile
from typing import IO, TYPE_CHECKING, Protocol

from atoll.base.errors import Damaged

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC = b"!<arch>\n"
_HEADER = 60
_LARGEST = 16 << 20
"""Most bytes of control data; the largest in Debian is less than a tenth of this."""


def read_control(path: Path) -> str:
    """The control stanza of a .deb, without a line break at its end. Raises Damaged or OSError."""
    try:
        with path.open("rb") as file:
            return _control_in(file).strip("\n")
    except (ValueError, EOFError, tarfile.TarError, KeyError) as error:
        raise Damaged(f"{path} is not a Debian package: {error}") from error


def _control_in(file: IO[bytes]) -> str:
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("it has no ar header")
    while header := file.read(_HEADER):
        name = header[:16].decode(errors="replace").strip().rstrip("/")
        size = int(header[48:58])
        if not name.startswith("control.tar"):
            file.seek(size + size % 2, io.SEEK_CUR)
            continue
        if size > _LARGEST:
            raise ValueError(f"its control data has {size} bytes")
        data = _unpack(name.removeprefix("control.tar"), file.read(size))
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            member = next((tar.extractfile(one) for one in tar if one.name in _NAMES), None)
            if member is None:
                raise ValueError("it has no control file")
            return member.read().decode(errors="replace")
    raise ValueError("it has no control data")


_NAMES = ("./control", "control")


def _unpack(suffix: str, packed: bytes) -> bytes:
    """Decompress a tar. Libraries are imported only if needed. Raises ValueError."""
    match suffix:
        case "":
            return packed
        case ".gz":
            import zlib

            return _limited(zlib.decompressobj(wbits=31), packed, zlib.error)
        case ".xz":
            import lzma

            return _limited(lzma.LZMADecompressor(), packed, lzma.LZMAError)
        case ".zst":
            import zstandard

            try:
                with zstandard.ZstdDecompressor().stream_reader(packed) as reader:
                    return bytes(reader.read(_LARGEST))
            except zstandard.ZstdError as error:
                raise ValueError(str(error)) from error
    raise ValueError(f"control.tar{suffix} has an unsupported compression")


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    def decompress(self, packed: bytes, limit: int, /) -> bytes: ...


def _limited(decompressor: _Decompressor, packed: bytes, broken: type[Exception]) -> bytes:
    try:
        data = decompressor.decompress(packed, _LARGEST)
    except broken as error:
        raise ValueError(str(error)) from error
    if not decompressor.eof:
        raise ValueError("its control data is truncated or too large")
    return data
