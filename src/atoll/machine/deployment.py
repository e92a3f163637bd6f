"""Deployments as values, and the text of ``deployment.json`` and ``origin.toml``.

``atoll/deployments/<n>/deployment.json`` says what deployment ``n`` is. It never changes after the
commit; what happens to a deployment later (pinned, held, blessed) is noted under ``atoll/state/``::

    {"format": 1, "number": 4, "algorithm": "fsverity-sha256-4096", "tree": "<64 hex>",
     "name": "hello", "version": "1.2", "kernel": "6.12.48-amd64", "pair": "<64 hex>"}

``pair`` names the directory on the ESP with its kernel and initrd: the digest of both. Beside it
``origin.toml`` says which image it came from, and ``atoll.toml`` is the recipe of that image. Where
the machine file changed the tree, ``machine.toml`` and ``machine.lock`` are what it was built from.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.base.ids import TreeId, is_hex_digest
from atoll.base.json import parse_json_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atoll.image.bootable import BootableImage

FORMAT = 1
MACHINE_TEXT, MACHINE_LOCK = "machine.toml", "machine.lock"
ALGORITHM = "fsverity-sha256-4096"
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


def is_number(text: str) -> bool:
    """Whether ``text`` is a deployment number as Atoll writes it: ASCII digits, at most nine,
    without leading zeros."""
    return _NUMBER.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """``name`` and ``version`` are the image's; ``kernel`` is the version of the kernel."""

    number: int
    tree: TreeId
    name: str
    version: str
    kernel: str
    pair: str

    @property
    def title(self) -> str:
        return f"{self.name} {self.version} ({self.number})"


def make_deployment(image: BootableImage, number: int) -> Deployment:
    return Deployment(
        number=number,
        tree=image.tree,
        name=image.name,
        version=image.version,
        kernel=image.kernel,
        pair=image.pair,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """``image`` is the reference from which it was installed. ``base`` is the tree of that image
    where the deployment has another one, which the machine file made of it."""

    image: str
    base: TreeId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFiles:
    """What a deployment's tree was built from besides its image: machine file and lock.

    ``others`` are files that came with the machine file, by their paths below ``/etc``; ``modes``
    has those of them that are not 0644.
    """

    text: bytes
    lock: bytes
    others: tuple[tuple[str, bytes], ...] = field(default=(), compare=False)
    modes: Mapping[str, int] = field(default_factory=dict, compare=False)


def format_deployment(deployment: Deployment) -> bytes:
    document = {
        "format": FORMAT,
        "number": deployment.number,
        "algorithm": ALGORITHM,
        "tree": deployment.tree,
        "name": deployment.name,
        "version": deployment.version,
        "kernel": deployment.kernel,
        "pair": deployment.pair,
    }
    return json.dumps(document, indent=1).encode() + b"\n"


def parse_deployment(data: bytes, *, where: str) -> Deployment:
    """Raises Damaged, naming ``where`` it was."""
    document = parse_json_object(data, where=where)
    if document.get("format") != FORMAT:
        raise Damaged(f"{where} is not a deployment of format {FORMAT}")
    number = document.get("number")
    texts = [document.get(key) for key in ("tree", "name", "version", "kernel", "pair")]
    if type(number) is not int or number < 1 or not all(isinstance(text, str) for text in texts):
        raise Damaged(f"{where} does not describe a deployment")
    tree, name, version, kernel, pair = (str(text) for text in texts)
    if document.get("algorithm") != ALGORITHM or not (is_hex_digest(tree) and is_hex_digest(pair)):
        raise Damaged(f"{where} has a digest that is not {ALGORITHM}")
    return Deployment(
        number=number, tree=TreeId(tree), name=name, version=version, kernel=kernel, pair=pair
    )


def format_origin(origin: Origin) -> bytes:
    # A JSON string of printable characters is a TOML basic string.
    base = f'base = "{origin.base}"\n' if origin.base else ""
    return f"image = {json.dumps(origin.image, ensure_ascii=False)}\n{base}".encode()


def parse_origin(data: bytes, *, where: str) -> Origin:
    """Raises Damaged, naming ``where`` it was."""
    from atoll.base.toml import parse_toml

    try:
        table = parse_toml(data.decode())
    except ValueError as error:
        raise Damaged(f"{where} is not TOML: {error}") from error
    image, base = table.get("image"), table.get("base")
    if not isinstance(image, str):
        raise Damaged(f"{where} names no image")
    if base is None:
        return Origin(image=image)
    if not isinstance(base, str) or not is_hex_digest(base):
        raise Damaged(f"{where}: base is not the digest of a tree")
    return Origin(image=image, base=TreeId(base))
