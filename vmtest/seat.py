"""The screen and the keyboard of a machine that has a ``Display``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from vmtest.clock import Deadline
from vmtest.keyboard import keys_of, parse_keys, press
from vmtest.screen import parse_ppm, wait_for_picture, write_png

if TYPE_CHECKING:
    from pathlib import Path

    from vmtest.errors import MachineError
    from vmtest.screen import Picture

SCREEN_SECONDS = 600.0


class Seat(ABC):
    """What a person in front of the machine sees and does: the part of ``Machine`` for that."""

    directory: Path

    @abstractmethod
    def _control(self, command: str, **arguments: object) -> object:
        """Ask QEMU for something."""

    @abstractmethod
    def _error(self, message: str) -> MachineError: ...

    @abstractmethod
    def _say(self, line: str) -> None: ...

    def picture(self) -> Picture:
        """What its screen shows now; needs a ``Display``."""
        path = self.directory / "screen.ppm"
        self._control("screendump", filename=str(path))
        data = path.read_bytes()
        path.unlink()
        return parse_ppm(data)

    def screenshot(self, path: Path) -> None:
        """Write what its screen shows as a PNG file."""
        write_png(path, self.picture())
        self._say(f"screenshot: {path}")

    def wait_for_screen(
        self, *, colours: int = 2, steady: float = 3.0, timeout: float = SCREEN_SECONDS
    ) -> Picture:
        """Wait until the screen shows so many colours and has not changed for ``steady`` seconds.

        A blinking cursor is no change. A text console has a few colours, a greeter more than 32.
        """
        deadline = Deadline(timeout)
        picture = wait_for_picture(self.picture, colours, steady, deadline)
        if picture is None:
            raise self._error(
                f"waited {deadline.seconds:.0f} s for a steady screen of {colours} colours; "
                f"it has {self.picture().colours()}"
            )
        return picture

    def send_key(self, combination: str) -> None:
        """Press keys together: ``ret``, ``ctrl-alt-f2``; the names are those of QEMU."""
        press(self._control, parse_keys(combination))

    def send_chars(self, text: str) -> None:
        """Type text on an American keyboard."""
        for character in text:
            press(self._control, keys_of(character))
