"""Takes the pictures of ``atoll install``'s dialogue: ``python docs/site/take_dialogue.py``.

The dialogue runs on a terminal of 80×24 with the disks and the image of the tests, and chromium
draws what is on it. Run it in the checkout with ``PYTHONPATH=.:src`` after a page has changed.
"""

from __future__ import annotations

import html
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.terminals import COLUMNS, DOWN, ENTER, LINES, UP, on_terminal

if TYPE_CHECKING:
    from tests.terminals import Terminal

IMAGES = Path(__file__).resolve().parents[1] / "images"
WIDTH, HEIGHT = 7.83, 17
"""Pixels of a letter in DejaVu Sans Mono at 13 pixels."""
STEPS = (
    ("Which layout", f"ger{ENTER}", ""),
    ("Which variant", f"nod{ENTER}", ""),
    ("Which disk", ENTER, "install-disk.png"),
    ("> free space", ENTER, "install-part.png"),
    ("do not encrypt", f"{UP}{UP}", ""),
    ("> encrypt the system and all files, with", ENTER, "install-encryption.png"),
    ("Passphrase:", f"correct horse{ENTER}", ""),
    ("once more", f"correct horse{ENTER}", ""),
    ("Full name", f"Ada Lovelace{ENTER}", ""),
    ("Login name: ada", ENTER, ""),
    ("Password:", f"secret{ENTER}", ""),
    ("once more", f"secret{ENTER}", ""),
    ("Host name:", ENTER, ""),
    ("> en_US.UTF-8", ENTER, ""),
    ("Africa/Cairo", f"ber{ENTER}", ""),
    ("by Wi-Fi", ENTER, ""),
    ("Image:", ENTER, ""),
    ("File:", ENTER, ""),
    ("The plan", DOWN, "install-plan.png"),
    ("The plan", ENTER, ""),
    ("Name of the disk", "nvme0n1", ""),
    ("Name of the disk: nvme0n1", ENTER, "install-confirm.png"),
)


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        words = [sys.executable, "-m", "tests.dialogue_facts", work, f"{work}/out"]
        with on_terminal(words, term="linux", env=dict(os.environ)) as terminal:
            for text, keys, picture in STEPS:
                terminal.wait_for(text)
                if picture:
                    draw(terminal, IMAGES / picture, Path(work))
                terminal.send(keys)
            assert terminal.end() == 0


def draw(terminal: Terminal, picture: Path, work: Path) -> None:
    """The cells of the screen as an HTML page, and that as a picture."""
    page = work / "page.html"
    columns, lines = int(COLUMNS * WIDTH), LINES * HEIGHT
    size = f"width:{columns}px;height:{lines}px"
    style = f"margin:0;background:#000;color:#ccc;font:13px/{HEIGHT}px 'DejaVu Sans Mono';{size}"
    rows = "\n".join(format_row(terminal, number) for number in range(LINES))
    page.write_text(
        f"<!doctype html><meta charset=utf-8><body style='margin:0'><pre style=\"{style}\">{rows}"
    )
    subprocess.run(
        [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--hide-scrollbars",
            f"--user-data-dir={work / 'chromium'}",
            f"--window-size={columns},{lines}",
            f"--screenshot={picture}",
            page.as_uri(),
        ],
        check=True,
        capture_output=True,
    )


def format_row(terminal: Terminal, number: int) -> str:
    cells = [terminal.screen.buffer[number][at] for at in range(COLUMNS)]
    parts = []
    for cell in cells:
        style = ("color:#000;background:#ccc;" if cell.reverse else "") + (
            "font-weight:bold;" if cell.bold else ""
        )
        text = html.escape(cell.data)
        parts.append(f'<span style="{style}">{text}</span>' if style else text)
    return "".join(parts)


if __name__ == "__main__":
    main()
