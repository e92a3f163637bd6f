"""What the machine said on its serial console: a file, cut by starts and cleaned for reading."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Cursor movement, colours, terminal queries and titles.
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Z0-9]|.)")


def clean(raw: bytes) -> str:
    """Console bytes as plain lines."""
    text = ESCAPES.sub("", raw.decode(errors="replace"))
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


class Console:
    """The log of all starts of one machine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._start = 0

    def mark_start(self) -> None:
        """The machine starts (again): earlier text is of an earlier boot."""
        self._start = self.path.stat().st_size if self.path.exists() else 0

    def text(self) -> str:
        """Everything since the machine started last."""
        if not self.path.exists():
            return ""
        with self.path.open("rb") as log:
            log.seek(self._start)
            return clean(log.read())

    def tail(self, lines: int = 25) -> str:
        """The last lines that say something."""
        return "\n".join([line for line in self.text().splitlines() if line.strip()][-lines:])
