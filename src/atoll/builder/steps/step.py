"""A step of a build: something that changes a root, known by the digest of what decides it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path


class Step(Protocol):
    """Steps run one after the other, each in an overlay over what those before it gave.

    Two steps with the same ``parts`` over the same root give the same root, so what a step changed
    is kept under a digest of its parts and of those of all steps before it.
    """

    @property
    def title(self) -> str:
        """What a person is told while it runs, such as ``Writing files``."""

    def parts(self) -> tuple[str, ...]:
        """Everything that decides what it does, beside the root that it is given."""

    def execute(self, root: Path, workspace: Path) -> None:
        """Change ``root``; ``workspace`` is a place for temporary files outside of it."""
