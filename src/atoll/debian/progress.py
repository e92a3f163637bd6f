"""How far dpkg is, from what it says: each package is unpacked once and set up once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.base.report import Reporter

_LINE = re.compile(rb"^(?:Unpacking|Setting up) ([a-z0-9][a-z0-9+.:-]*) \(", re.MULTILINE)


class DpkgProgress:
    """``look`` reads what came to ``log`` since the last time, and tells the reporter.

    ``packages`` is how many will be installed; a package counts half when it is unpacked.
    """

    def __init__(self, log: Path, packages: int, reporter: Reporter) -> None:
        self._log = log
        self._packages = packages
        self._reporter = reporter
        self._read = 0
        self._lines = 0

    def look(self) -> None:
        try:
            with self._log.open("rb") as file:
                file.seek(self._read)
                whole, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return
        self._read += len(whole) + len(newline)
        names = _LINE.findall(whole)
        if names:
            self._lines += len(names)
            done = min(self._lines // 2, self._packages)
            self._reporter.progress(done, self._packages, unit=f"packages, {names[-1].decode()}")
