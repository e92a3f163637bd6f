"""An independent judge of a machine in a directory: what would its loader take, and can that boot?

It reads the disk only, and shares no code with Atoll: names of entries as the Boot Loader
Specification has them, in the order of systemd-boot, digests by hashlib.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_COUNTED = re.compile(r"(?P<stem>.+?)(?:\+(?P<left>\d+)(?:-(?P<used>\d+))?)?\.conf")
_OBJECT = re.compile(rb"/([0-9a-f]{2})/([0-9a-f]{62})")
BLOCK = 4096


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An entry that the loader shows. ``left`` is None for one without a counter."""

    path: Path
    left: int | None
    used: int
    version: int
    linux: str
    initrd: str
    tree: str
    deployment: str


def loader_entries(esp: Path) -> list[Choice]:
    """In the order of the menu; the first is taken by itself."""
    found = []
    folder = esp / "loader/entries"
    for path in sorted(folder.glob("atoll-*.conf")):
        name = _COUNTED.fullmatch(path.name)
        lines = path.read_text(errors="replace").splitlines()
        fields = dict(line.split(" ", 1) for line in lines if " " in line and line[0] != "#")
        if name is None or "linux" not in fields:
            continue
        words = fields.get("options", "").split()
        options = dict(word.partition("=")[::2] for word in words[::-1])
        version = fields.get("version", "")
        left = None if name["left"] is None else int(name["left"])
        found.append(
            Choice(
                path=path,
                left=left,
                used=int(name["used"] or 0),
                version=int(version) if version.isdecimal() else 0,
                linux=fields["linux"],
                initrd=fields.get("initrd", ""),
                tree=options.get("composefs", ""),
                deployment=options.get("atoll.deployment", ""),
            )
        )
    return sorted(found, key=lambda each: (each.left == 0, -each.version))


def why_not(root: Path, choice: Choice) -> str:
    """Why an entry does not boot; empty when it does."""
    kernel, initrd = (root / "esp" / each.lstrip("/") for each in (choice.linux, choice.initrd))
    try:
        parts = [sha256(path.read_bytes()).digest() for path in (kernel, initrd)]
        if sha256(b"".join(parts)).hexdigest() != kernel.parent.name:
            return "kernel or initrd differ from their name"
        place = root / "atoll/deployments" / choice.deployment
        said = json.loads((place / "deployment.json").read_bytes())
        image = (root / "atoll/images" / choice.tree).read_bytes()
        if not (place / "etc/upper").is_dir():
            return "it has no upper directory"
    except (OSError, ValueError) as error:
        return str(error)
    if not isinstance(said, dict) or (said.get("format"), said.get("tree")) != (1, choice.tree):
        return "deployment and entry do not fit"
    if verity(image) != choice.tree:
        return "the tree is damaged"
    objects = root / "atoll/objects"
    gone = [
        one
        for one, two in set(_OBJECT.findall(image))
        if not (objects / one.decode() / two.decode()).is_file()
    ]
    return f"{len(gone)} objects are gone" if gone else ""


def ways_back(root: Path) -> list[str]:
    """The deployments that have an entry without a counter, and that can boot by it."""
    return [
        each.deployment
        for each in loader_entries(root / "esp")
        if each.left is None and not why_not(root, each)
    ]


def verity(data: bytes) -> str:
    """fs-verity's digest: SHA-256, blocks of 4 KiB, no salt."""
    if data:
        level = data
        while True:
            blocks = [level[at : at + BLOCK] for at in range(0, len(level), BLOCK)]
            hashes = [sha256(block.ljust(BLOCK, b"\0")).digest() for block in blocks]
            if len(hashes) == 1:
                top = hashes[0]
                break
            level = b"".join(hashes)
    else:
        top = bytes(32)
    head = bytes([1, 1, 12, 0]) + bytes(4) + len(data).to_bytes(8, "little")
    return sha256((head + top.ljust(64, b"\0")).ljust(256, b"\0")).hexdigest()
