"""What differs on a machine, as rows and words of the machine file: the values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

KERNEL = "kernel"
"""What a person names the kernel arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Something that is not adopted. ``name`` is what a person names it; ``secret``: it is adopted
    when it is named."""

    name: str
    why: str
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptedRow:
    """A row of a list of tables: ``table`` (``file``, ``user``, ``group``), the value of its first
    key, and all its keys. ``source`` is the content of the file that ``values`` name as source,
    and ``private`` whether only root may read it. ``name`` is what a person names it."""

    name: str
    table: str
    values: Mapping[str, object] = field(repr=False)
    source: bytes | None = field(default=None, repr=False)
    private: bool = False

    @property
    def key(self) -> str:
        """The key that tells rows of the table apart."""
        return "path" if self.table == "file" else "name"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptedWord:
    """A word of a list, such as a unit in ``units.enable``. It must not be in the lists
    ``instead_of``."""

    name: str
    path: tuple[str, ...]
    word: str
    instead_of: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What one kind of drift becomes."""

    rows: tuple[AdoptedRow, ...] = ()
    words: tuple[AdoptedWord, ...] = ()
    left: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """A new text of the machine file, and files beside it (paths below ``/etc``). ``private`` are
    those that only root may read, the machine file too when it has a hash of a password.
    ``adopted`` are the names of what it explains now."""

    text: str
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    private: frozenset[str] = frozenset()
    adopted: tuple[str, ...] = ()
    left: tuple[LeftOut, ...] = ()
