"""Progress of dpkg from its output: each package is unpacked once and configured once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.base.report import Reporter

_LINE = re.compile(rb"^(?:Unpacking|Setting up) ([a-z0-9][a-z0-9+.:-]*) \(", re.MULTILINE)


class DpkgProgress:
    """``update`` reads what was added to ``log`` and reports the progress.

    ``packages`` is the number to install; unpacking and configuring count half a package each.
    """

    def __init__(self, log: Path, packages: int, reporter: Reporter) -> None:
        self._log = log
        self._packages = packages
        self._reporter = reporter
        self._read = 0
        self._lines = 0

    def update(self) -> None:
        """Read new lines of the log and report the progress."""
        try:
            with self._log.open("rb") as file:
                file.seek(self._read)
                complete, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return
        self._read += len(complete) + len(newline)
        names = _LINE.findall(complete)
        if names:
            self._lines += len(names)
            done = min(self._lines // 2, self._packages)
            self._reporter.progress(done, self._packages, unit=f"packages, {names[-1].decode()}")
